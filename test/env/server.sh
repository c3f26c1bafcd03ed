#!/bin/bash
# Builds the extension and installs it into a private copy of the server (the
# server is relocatable): nothing of ours goes into the system's folders.
. "$(dirname "$0")/lib.sh"
need_root
make_state

system_lib=/usr/lib/postgresql/15
system_share=/usr/share/postgresql/15

copy_server() {
	# What is installed where, and how old: copied again when it changes.
	local stamp
	stamp=$(find $system_lib $system_share -type f -printf '%p %s %T@\n' | sort | sha256sum)
	[ "$(cat "$pg/stamp" 2>/dev/null)" = "$stamp" ] && return
	rm -rf "$pg.new"
	mkdir -p "$pg.new/lib/postgresql" "$pg.new/share/postgresql" "$pg.new/include"
	cp -a $system_lib "$pg.new/lib/postgresql/15"
	cp -a $system_share "$pg.new/share/postgresql/15"
	ln -s /usr/include/postgresql "$pg.new/include/postgresql"
	printf %s "$stamp" >"$pg.new/stamp"
	rm -rf "$pg"
	mv "$pg.new" "$pg"
}

copy_server
log=$OSA_STATE/build.log
make=${MAKE:-make}
if ! (cd "$osa_root" && $make --no-print-directory -j"$(nproc)" all PG_CONFIG=$system_lib/bin/pg_config \
	&& $make --no-print-directory install PG_CONFIG="$pg_bin/pg_config") >"$log" 2>&1 </dev/null; then
	tail -n 60 "$log" >&2
	die "the build failed; all of it: $log"
fi
