#!/bin/bash
# cluster.sh start|stop|status|env|wipe: the instance's throw-away PostgreSQL cluster.
# Runs as user postgres from the private copy; reached by Unix socket only.
# OSA_EXTRA_CONF: more lines for its configuration.
. "$(dirname "$0")/lib.sh"

pgctl() { as_postgres "$pg_bin/pg_ctl" -D "$db/data" -s "$@"; }

# trust is safe: the socket's folder is root's and postgres' alone
init() {
	[ -f "$db/data/PG_VERSION" ] && return
	rm -rf "$db"
	install -d -o postgres -g postgres -m 0750 "$db" "$db/sock"
	as_postgres "$pg_bin/initdb" -D "$db/new" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
		>"$instance/log/initdb.log" 2>&1 || { cat "$instance/log/initdb.log" >&2; die "initdb failed"; }
	echo "include 'osa.conf'" >>"$db/new/postgresql.conf"
	mv "$db/new" "$db/data"
}

configure() {
	cat >"$db/data/osa.conf" <<-CONF
	listen_addresses = ''
	unix_socket_directories = '$db/sock'
	port = 5432
	max_connections = 60
	max_worker_processes = 16
	max_prepared_transactions = 10
	shared_preload_libraries = 'osa_validation,pg_cron'
	cron.database_name = 'osa'
	cron.use_background_workers = on
	osa_validation.engine_socket = '$engine_socket'
	log_line_prefix = '%m [%p] %b %q%d '
	log_timezone = 'UTC'
	timezone = 'UTC'
	${OSA_EXTRA_CONF-}
	CONF
	chown postgres:postgres "$db/data/osa.conf"
}

# The server's processes: those that work in its data folder (no zombies).
processes() {
	local path
	for path in /proc/[0-9]*; do
		[ "$(readlink "$path/cwd" 2>/dev/null)" != "$db/data" ] || echo "${path#/proc/}"
	done
}

postmaster_runs() {
	local pid
	pid=$(head -n 1 "$db/data/postmaster.pid" 2>/dev/null) && [ -n "$pid" ] &&
		[ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$db/data" ]
}

start() {
	need_root
	make_state
	! postmaster_runs || return 0
	sweep
	init
	configure
	pgctl -w -t 60 -l "$db/postgres.log" start || {
		tail -n 20 "$db/postgres.log" >&2
		die "the cluster did not start; its log: $db/postgres.log"
	}
	local psql="$pg_bin/psql -h $db/sock -U postgres -qAtX -d postgres -v ON_ERROR_STOP=1"
	[ "$($psql -c "SELECT count(*) FROM pg_database WHERE datname = 'osa'")" = 1 ] ||
		$psql -c 'CREATE DATABASE osa'
}

# A server that was killed may leave processes, for a moment, and its pid file.
sweep() {
	[ -d "$db/data" ] || return 0
	local pid i
	for i in $(seq 50); do
		pid=$(processes)
		[ -n "$pid" ] || break
		# shellcheck disable=SC2086  # words are meant
		kill -KILL $pid 2>/dev/null || true
		sleep 0.1
	done
	rm -f "$db/data/postmaster.pid"
}

stop() {
	if postmaster_runs; then
		pgctl -w -t 60 -m fast stop || pgctl -w -t 30 -m immediate stop || true
	fi
	sweep
}

case ${1-} in
start) start ;;
stop) stop ;;
status) postmaster_runs && echo up || echo down ;;
wipe) stop; rm -rf "$db" ;;
env)
	say "export PGHOST=$db/sock PGPORT=5432 PGDATABASE=osa PGUSER=postgres DOCKER_HOST=unix://$engine_socket"
	;;
*) die "usage: cluster.sh start|stop|status|wipe|env" ;;
esac
