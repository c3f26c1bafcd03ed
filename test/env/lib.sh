# Sourced by the scripts beside it: where everything is, and a few helpers.
#
# All state is in one folder outside the checkout ($OSA_STATE), since user
# postgres may be unable to read the checkout:
#   pg/                    private copy of the server, with the extension
#   images/                built image archives
#   <instance>/            dev (make up), demo, check, bench: each has its own
#     s/                   sockets of the engine and of its keeper
#     podman/ or docker/   the engine's storage, root's
#     db/                  cluster, its socket and log, postgres'
#     log/                 logs
set -eu
umask 022
export LC_ALL=C.UTF-8

osa_env=$(cd "$(dirname "$0")" && pwd -P)
osa_root=${osa_env%/test/env}
osa_hash=$(printf %s "$osa_root" | sha256sum | cut -c1-8)
OSA_STATE=${OSA_STATE:-/var/tmp/osa_validation-$osa_hash}
OSA_INSTANCE=${OSA_INSTANCE:-dev}
ENGINE=${ENGINE:-podman}
export OSA_STATE OSA_INSTANCE ENGINE

# shellcheck disable=SC2034  # used by those who source this
{
	instance=$OSA_STATE/$OSA_INSTANCE
	sockets=$instance/s
	engine_socket=$sockets/engine.sock
	db=$instance/db
	pg=$OSA_STATE/pg
	pg_bin=$pg/lib/postgresql/15/bin
}

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

need_root() {
	[ "$(id -u)" = 0 ] || die "this has to run as root (it starts a container engine)"
}

# The state folder lies in a folder anyone may write to: it must be ours.
make_state() {
	case $OSA_STATE in
	/*) ;;
	*) die "OSA_STATE must be an absolute path: $OSA_STATE" ;;
	esac
	[ ${#OSA_STATE} -le 60 ] || die "OSA_STATE is too long for the sockets in it (60 bytes at most): $OSA_STATE"
	[ -d "$OSA_STATE" ] || mkdir -m 0755 "$OSA_STATE"
	if [ -L "$OSA_STATE" ] || [ "$(stat -c %u "$OSA_STATE")" != 0 ]; then
		die "$OSA_STATE is not a folder of root's: remove it, or set OSA_STATE"
	fi
	mkdir -p "$instance/log"
}

# One build at a time, and one command an instance.
lock_state() {
	make_state
	exec 9>"$OSA_STATE/lock"
	flock -n 9 || { say "waiting for another command of this checkout"; flock 9; }
}
lock_instance() {
	exec 8>"$instance/lock"
	flock -n 8 || { say "waiting for another command on $OSA_INSTANCE"; flock 8; }
}

# Daemons must not hold our locks (descriptors 8 and 9).
as_postgres() { (cd / && exec runuser -u postgres -- "$@" 8>&- 9>&-); }

# engine_api METHOD PATH [curl options…]
engine_api() {
	local method=$1 path=$2
	shift 2
	curl -sS --max-time 120 --unix-socket "$engine_socket" -X "$method" "$@" "http://engine/v1.41$path"
}
