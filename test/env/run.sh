#!/bin/bash
# The make targets beyond the build: up, down, psql, demo, bench, check,
# check-full and clean.  See lib.sh for where things are.
. "$(dirname "$0")/lib.sh"

# Everything the project needs on the machine, built and in its place.
prepare() {
	"$osa_env/packages.sh"
	need_root
	lock_state
	lock_instance
	say "building"
	"$osa_env/server.sh"
	exec 9>&-
}

hook_folders() { find "$@" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sort; }

sql() {
	PGOPTIONS='-c client_min_messages=warning' \
		"$pg_bin/psql" -h "$db/sock" -U postgres -d osa -qAtX -v ON_ERROR_STOP=1 -c "$1"
}

start_instance() {
	"$osa_env/engine.sh" start
	# shellcheck disable=SC2046  # folders' names have no spaces
	"$osa_env/image.sh" load $(hook_folders "$osa_root/examples/hooks")
	"$osa_env/cluster.sh" start
	sql 'CREATE EXTENSION IF NOT EXISTS osa_validation'
}

is_up() {
	[ "$("$osa_env/cluster.sh" status)" = up ] && [[ $("$osa_env/engine.sh" status) == up* ]]
}

write_env() {
	mkdir -p "$osa_root/.dev"
	"$osa_env/cluster.sh" env >"$osa_root/.dev/env"
	ln -sfn "$OSA_STATE" "$osa_root/.dev/state"
}

up() {
	local running
	running=$(cat "$instance/engine.kind" 2>/dev/null || true)
	if [ "$(id -u)" = 0 ] && is_up; then
		[ "$running" = "$ENGINE" ] || die "it is up on $running: make down first, for $ENGINE"
		say "already up:"
	else
		prepare
		start_instance
		say "up:"
	fi
	write_env
	cat "$osa_root/.dev/env"
}

down() {
	[ -d "$instance" ] || return 0
	need_root
	lock_instance
	[ ! -x "$pg_bin/pg_ctl" ] || "$osa_env/cluster.sh" stop
	"$osa_env/engine.sh" stop
	rm -f "$osa_root/.dev/env"
}

# demo and bench: an instance of their own, started new, taken down again.
own_instance() {
	[ -x "$1" ] || die "there is no ${1#"$osa_root"/} in this checkout"
	prepare
	trap '"$osa_env/cluster.sh" stop; "$osa_env/engine.sh" stop' EXIT
	"$osa_env/cluster.sh" wipe
	start_instance
	"$osa_env/engine.sh" clear
	eval "$("$osa_env/cluster.sh" env)"
	PATH="$pg_bin:$PATH" OSA_ENGINE="$ENGINE" "$1"
}

clean() {
	rm -rf "$osa_root/.dev"
	[ -d "$OSA_STATE" ] || return 0
	need_root
	lock_state
	local name
	for name in dev demo bench check; do
		[ -d "$OSA_STATE/$name" ] || continue
		[ ! -x "$pg_bin/pg_ctl" ] || OSA_INSTANCE=$name "$osa_env/cluster.sh" wipe
		OSA_INSTANCE=$name "$osa_env/engine.sh" wipe
	done
	rm -rf "$OSA_STATE"
}

# The commands with an instance of their own begin again in it.
own() {
	[ "$OSA_INSTANCE" = "$1" ] || OSA_INSTANCE=$1 exec "$0" "$2"
}

case ${1-} in
up) up ;;
down) down ;;
psql)
	[ -f "$osa_root/.dev/env" ] || die "not up: make up first"
	. "$osa_root/.dev/env"
	exec "$pg_bin/psql"
	;;
demo)
	own demo "$1"
	own_instance "$osa_root/examples/demo/run.sh"
	;;
bench)
	own bench "$1"
	own_instance "$osa_root/bench/run.sh"
	;;
check)
	own check "$1"
	prepare
	exec "$osa_env/check.sh"
	;;
check-full) OSA_FULL=1 exec "$0" check ;;
clean) clean ;;
*) die "usage: run.sh up|down|psql|demo|bench|check|check-full|clean" ;;
esac
