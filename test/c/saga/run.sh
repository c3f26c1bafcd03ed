#!/bin/bash
# The saga alone: no server, no SPI.  Builds src/saga and src/ident.c into a
# plain program, which prints TAP, and sees that they call nothing else.
#   OSA_FUZZ_SEED   seed of the random sagas (default: today's)
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
root=${here%/test/c/saga}
work=$(mktemp -d "${TMPDIR:-/tmp}/osa_saga.XXXXXX")
trap 'rm -rf "$work"' EXIT

pg_config=${PG_CONFIG:-$(command -v pg_config || echo /usr/lib/postgresql/15/bin/pg_config)}
include=$("$pg_config" --includedir-server)
[ -f "$include/postgres.h" ] || include=$(/usr/lib/postgresql/15/bin/pg_config --includedir-server)

if ! "${CC:-cc}" -g -O1 -Wall -Wextra -Werror -I"$root/src" -isystem "$include" \
	-o "$work/saga_test" "$here/saga_test.c" "$root"/src/saga/*.c 2>"$work/log"; then
	echo "Bail out!  the saga does not build without the server"
	sed 's/^/# /' "$work/log"
	exit 1
fi
seed=${OSA_FUZZ_SEED:-$(date +%Y%m%d)}
echo "# seed $seed"
"$work/saga_test" "$seed"
