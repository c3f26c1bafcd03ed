#!/bin/bash
# Tests of src/runner, http.c and spool.c: builds them with the tests into one
# loadable module and runs them as SQL functions of a private cluster, against
# an engine that says anything.  Prints TAP.
#   PG_CONFIG            the server to build for
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
root=${here%/test/c/runner}
work=$(mktemp -d "${TMPDIR:-/tmp}/osa_runner.XXXXXX")
engine=

pg_config=${PG_CONFIG:-$(command -v pg_config || echo /usr/lib/postgresql/15/bin/pg_config)}
bin=$("$pg_config" --bindir)
include=$("$pg_config" --includedir-server)
[ -f "$include/postgres.h" ] || include=$(/usr/lib/postgresql/15/bin/pg_config --includedir-server)

# the server refuses to run as root
as_server() {
	if [ "$(id -u)" = 0 ]; then
		(cd / && exec runuser -u postgres -- "$@")
	else
		"$@"
	fi
}

finish() {
	status=$?
	[ ! -f "$work/data/postmaster.pid" ] ||
		as_server "$bin/pg_ctl" -D "$work/data" -m immediate -w stop >>"$work/log" 2>&1 || true
	[ -z "$engine" ] || kill "$engine" 2>/dev/null || true
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

bail() {
	echo "Bail out!  $1"
	tail -n 40 "$work/log" | sed 's/^/# /'
	exit 1
}

chmod 0755 "$work"
mkdir "$work/sock"
: >"$work/log"
${CC:-gcc} -shared -fPIC -O1 -g -std=gnu99 -fno-strict-aliasing -fwrapv -D_GNU_SOURCE \
	-Wall -Wextra -Werror -fvisibility=hidden ${EXTRA_CFLAGS-} \
	'-DPGDLLEXPORT=__attribute__((visibility("default")))' -include "$root/src/exports.h" \
	-I"$root/src" -I"$here" -isystem "$include" \
	-o "$work/runner_test.so" "$here"/*.c "$root"/src/runner/*.c "$root"/src/http*.c \
	"$root/src/spool.c" "$root/src/types.c" "$root/src/contract/json.c" \
	-lcurl >>"$work/log" 2>&1 || bail "could not build"
[ "$(id -u)" != 0 ] || chown -R postgres: "$work"

as_server "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
	>>"$work/log" 2>&1 || bail "initdb failed"
as_server "$bin/pg_ctl" -D "$work/data" -l "$work/log" -w -t 60 \
	-o "-c listen_addresses= -c unix_socket_directories='$work/sock' -c fsync=off -c max_stack_depth=2MB -c max_files_per_process=100" \
	start >>"$work/log" 2>&1 || bail "could not start the server"

psql() {
	"$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work/sock" -U postgres "$@" 2>>"$work/log"
}

mkfifo "$work/stdin" "$work/ready"
perl "$here/fake_engine.pl" "$work/fake.sock" <"$work/stdin" >"$work/ready" 2>>"$work/log" &
engine=$!
exec 9>"$work/stdin"
read -r ready <"$work/ready" || bail "could not start the fake engine"

psql -d postgres -c "CREATE FUNCTION runner_test(suite text, socket text)
	RETURNS text LANGUAGE c STRICT AS '$work/runner_test', 'osa_runner_test'" || bail "could not load the tests"
for suite in spec facts replies verdicts decoders spool engine calls; do
	echo "# $suite" >>"$work/tap"
	psql -d postgres -c "SELECT runner_test('$suite', '$work/fake.sock')" >>"$work/tap" || bail "suite $suite"
done

# One plan, one numbering.
sed -E 's/^(not ok|ok) - /\1 N - /' "$work/tap" | awk '/^(not )?ok N - / {sub(/ N - /, " " ++n " - ")} {print} END {print "1.." n}'
! grep -q '^not ok' "$work/tap"
