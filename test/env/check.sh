#!/bin/bash
# The whole test suite on one engine; run.sh has built and installed by now.
#   PARTS   some of: clang c regress pgtap tap (default: all)
#   TESTS   the TAP files to run, below test/ (default: t/*.pl)
#   OSA_FULL=1  the long forms
# Tests run as user postgres, on a copy of the sources that postgres may read.
. "$(dirname "$0")/lib.sh"
need_root

src=$instance/src
out=$instance/out
parts=${PARTS:-clang c regress pgtap tap}
sock=$db/sock
passed=0
failed=

# What an interrupted test left: processes of postgres' that work in its folders.
end_leftovers() {
	local path
	for path in /proc/[0-9]*; do
		case $(readlink "$path/cwd" 2>/dev/null) in
		"$out"/* | "$src" | "$src"/*) kill -KILL "${path#/proc/}" 2>/dev/null || true ;;
		esac
	done
}

finish() {
	end_leftovers
	"$osa_env/cluster.sh" stop || true
	"$osa_env/engine.sh" stop || true
}
trap finish EXIT
trap 'exit 130' INT TERM

copy_sources() {
	rm -rf "$src" "$out"
	install -d -o postgres -g postgres "$src" "$out"
	tar -C "$osa_root" --exclude=./.git --exclude=./.dev --exclude='*.o' --exclude='*.d' --exclude='*.so' -cf - . |
		tar -C "$src" --no-same-owner -xf -
	chown -R postgres:postgres "$src"
}

# part NAME FUNCTION: runs one, notes how it ended; not in a subshell's "||",
# so that what fails inside it ends it
part() {
	local name=$1 began=$SECONDS status=0
	[[ " $parts " == *" $name "* ]] || return 0
	say "== $name"
	set +e
	(set -e; "part_$name")
	status=$?
	set -e
	if [ $status = 0 ]; then
		passed=$((passed + 1))
		say "== $name: ok, $((SECONDS - began)) s"
	else
		failed="$failed $name"
		say "== $name: FAILED, $((SECONDS - began)) s"
	fi
}

# Builds without warnings with clang too (gcc's build is what is installed).
part_clang() {
	local build=$OSA_STATE/clang key
	key=$(cd "$src" && find src sql Makefile ./*.control -type f | sort | xargs sha256sum | sha256sum)
	[ "$(cat "$build/key" 2>/dev/null)" != "$key" ] || return 0
	rm -rf "$build"
	mkdir -p "$build"
	cp -R "$src/src" "$src/sql" "$src/Makefile" "$src"/*.control "$build/"
	if ! make -C "$build" -s -j"$(nproc)" CC=clang all >"$instance/log/clang.log" 2>&1; then
		tail -n 60 "$instance/log/clang.log"
		return 1
	fi
	echo "$key" >"$build/key"
}

part_c() {
	[ -f "$src/test/c/run.sh" ] || { say "there is no test/c/run.sh"; return 1; }
	in_sources env PG_CONFIG="$pg_bin/pg_config" bash test/c/run.sh
}

part_regress() {
	local tests
	tests=$(cd "$src/test/sql" && ls ./*.sql | sed 's,^\./,,; s,\.sql$,,')
	mkdir -p "$out/regress"
	chown postgres:postgres "$out/regress"
	# shellcheck disable=SC2086  # words are meant
	if ! in_sources "$pg/lib/postgresql/15/lib/pgxs/src/test/regress/pg_regress" \
		--inputdir="$src/test" --outputdir="$out/regress" --bindir="$pg_bin" \
		--host="$sock" --port=5432 --user=postgres --dbname=osa_regression $tests; then
		head -n 200 "$out/regress/regression.diffs"
		return 1
	fi
}

part_pgtap() {
	local psql="$pg_bin/psql -h $sock -U postgres -qX -v ON_ERROR_STOP=1"
	$psql -d osa -c 'CREATE DATABASE osa_pgtap'
	$psql -d osa_pgtap -c 'CREATE EXTENSION osa_validation' -c 'CREATE EXTENSION pgtap'
	in_sources bash -c "exec pg_prove -h '$sock' -U postgres -d osa_pgtap test/pgtap/*.sql"
}

part_tap() {
	local status=0 log name
	# One at a time: some of them kill the engine.
	in_sources env TESTDIR="$out/tap" PGPORT=65432 \
		PG_REGRESS="$pg/lib/postgresql/15/lib/pgxs/src/test/regress/pg_regress" \
		bash -c "mkdir -p '$out/tap' && cd test && exec prove --timer --norc \
			-I '$pg/lib/postgresql/15/lib/pgxs/src/test/perl' -I perl ${TESTS:-t/*.pl}" |
		tee "$out/tap.out" || status=$?
	[ $status != 0 ] || return 0
	for name in $(sed -n 's/^\(.*\)\.pl *(Wstat: .*/\1/p' "$out/tap.out"); do
		for log in "$out/tap/tmp_check/log/regress_log_${name##*/}" "$out"/tap/tmp_check/log/"${name##*/}"_*.log; do
			[ -f "$log" ] || continue
			say "---- the end of $log"
			tail -n 40 "$log"
		done
	done
	return $status
}

# As user postgres, in the copy of the sources, with all that tests need to know.
in_sources() {
	(
		cd "$src"
		exec runuser -u postgres -- env -u PGHOST -u PGDATABASE -u PGUSER -u PGOPTIONS \
			HOME="$out" PATH="$pg_bin:$PATH" LC_ALL=C.UTF-8 \
			OSA_ROOT="$src" OSA_STATE="$OSA_STATE" OSA_ENGINE="$ENGINE" OSA_FULL="${OSA_FULL-}" \
			OSA_ENGINE_SOCKET="$engine_socket" OSA_CONTROL_SOCKET="$sockets/control.sock" \
			OSA_REGISTRY="127.0.0.1:$("$osa_env/image.sh" registry-port)" \
			DOCKER_HOST="unix://$engine_socket" "$@" 8>&-
	)
}

set -o pipefail
say "state and logs: $OSA_STATE"
end_leftovers
"$osa_env/cluster.sh" wipe
"$osa_env/engine.sh" start
"$osa_env/engine.sh" clear
# shellcheck disable=SC2046  # folders' names have no spaces
"$osa_env/image.sh" load $(find "$osa_root/examples/hooks" "$osa_root/test/hooks" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sort)
OSA_EXTRA_CONF='fsync = off' "$osa_env/cluster.sh" start
copy_sources

for name in clang c regress pgtap tap; do
	part $name
done

if [ -n "$failed" ]; then
	say "FAILED on $ENGINE:$failed (logs: $instance)"
	exit 1
fi
say "All $passed parts passed on $ENGINE."
