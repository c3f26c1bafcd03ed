#!/bin/bash
# Tests of src/contract: builds it with the tests into one loadable module and
# runs them as SQL functions of a private cluster, in databases of different
# encodings.  Prints TAP.
#   PG_CONFIG            the server to build for
#   OSA_FUZZ_SECONDS     time of each fuzz loop (default 3)
#   OSA_FUZZ_SEED        its seed (default: today's)
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
root=${here%/test/c/contract}
work=$(mktemp -d "${TMPDIR:-/tmp}/osa_contract.XXXXXX")

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
mkdir "$work/files" "$work/sock"
: >"$work/log"
${CC:-gcc} -shared -fPIC -O1 -g -std=gnu99 -fno-strict-aliasing -fwrapv -D_GNU_SOURCE -DUSE_ASSERT_CHECKING=1 \
	-Wall -Wextra -Werror -fvisibility=hidden ${EXTRA_CFLAGS-} \
	'-DPGDLLEXPORT=__attribute__((visibility("default")))' -include "$root/src/exports.h" \
	-I"$root/src" -I"$here" -isystem "$include" \
	-o "$work/contract_test.so" "$here"/*.c "$root"/src/contract/*.c "$root/src/types.c" "$root/src/spool.c" \
	-larchive >>"$work/log" 2>&1 || bail "could not build"
[ "$(id -u)" != 0 ] || chown -R postgres: "$work"

as_server "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
	>>"$work/log" 2>&1 || bail "initdb failed"
as_server "$bin/pg_ctl" -D "$work/data" -l "$work/log" -w -t 60 \
	-o "-c listen_addresses= -c unix_socket_directories='$work/sock' -c fsync=off -c max_stack_depth=2MB" \
	start >>"$work/log" 2>&1 || bail "could not start the server"

psql() {
	"$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work/sock" -U postgres "$@" 2>>"$work/log"
}

psql -d postgres -c "CREATE DATABASE utf8" \
	-c "CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0" \
	-c "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0" || bail "no databases"

seed=${OSA_FUZZ_SEED:-$(date +%Y%m%d)}
for database in utf8 latin1 ascii; do
	psql -d "$database" -c "CREATE FUNCTION contract_test(suite text, folder text, seconds float8, seed int8)
		RETURNS text LANGUAGE c STRICT AS '$work/contract_test', 'osa_contract_test'" ||
		bail "could not load the tests"
	for suite in json paths limits columns progress input output fuzz; do
		seconds=${OSA_FUZZ_SECONDS:-3}
		# the fuzz loop takes its time once
		[ "$database" = utf8 ] || [ "$suite" != fuzz ] || seconds=0.5
		echo "# $suite in a database of encoding $database"
		psql -d "$database" -c "SELECT contract_test('$suite', '$work/files', $seconds, $seed)" >>"$work/tap" ||
			bail "suite $suite in database $database"
	done
done

# One plan, one numbering.
sed -E 's/^(not ok|ok) - /\1 N - /' "$work/tap" | awk '/^(not )?ok N - / {sub(/ N - /, " " ++n " - ")} {print} END {print "1.." n}'
! grep -q '^not ok' "$work/tap"
