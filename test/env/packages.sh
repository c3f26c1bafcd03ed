#!/bin/bash
# Installs the Debian packages that are missing; not as root: says which.
# packages.sh [package…]: those alone, instead of all that the tests need.
# Calls apt-get only if something is missing.  Leaves no service running.
. "$(dirname "$0")/lib.sh"

packages="gcc clang libc6-dev perl curl
	postgresql-15 postgresql-server-dev-15 libcurl4-openssl-dev libarchive-dev
	podman runc catatonit conmon busybox-static
	libipc-run-perl postgresql-15-cron postgresql-15-pgtap libtap-parser-sourcehandler-pgtap-perl
	${OSA_DATA_PACKAGES-emboss-test}"
[ "$ENGINE" = docker ] && packages="$packages docker.io"
[ $# = 0 ] || packages=$*

missing=
for package in $packages; do
	case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) in
	?i*) ;;
	*) missing="$missing $package" ;;
	esac
done

if [ "$(id -u)" != 0 ]; then
	if [ -n "$missing" ]; then
		say "Missing packages. As root:"
		say "    apt-get update && apt-get install --no-install-recommends$missing"
	fi
	[ $# = 0 ] || [ -n "$missing" ] || exit 0
	[ $# != 0 ] || say "The rest runs as root: it starts a container engine of its own."
	exit 1
fi
[ -n "$missing" ] || exit 0

export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
apt="apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0"
log=$(mktemp)
undo=

# A package's server is not started, and no default cluster is made, by us.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	undo="rm -f $policy"
fi
cluster_conf=/etc/postgresql-common/createcluster.conf
if [ ! -e $cluster_conf ]; then
	mkdir -p ${cluster_conf%/*}
	echo 'create_main_cluster = false' >$cluster_conf
	# afterwards the package's own, as if we had not been here
	undo="$undo${undo:+; }[ ! -f /usr/share/postgresql-common/createcluster.conf ] || cp /usr/share/postgresql-common/createcluster.conf $cluster_conf"
fi
trap 'rm -f "$log"; eval "$undo"' EXIT

say "installing:$missing"
# shellcheck disable=SC2086  # words are meant
install_missing() { $apt install -y --no-install-recommends $missing >"$log" 2>&1 </dev/null; }

# No lists at all on a fresh machine; stale lists ask for files that are gone.
if ! apt-cache show postgresql-server-dev-15 >/dev/null 2>&1 || ! install_missing; then
	$apt update >"$log" 2>&1 </dev/null || { tail -n 20 "$log" >&2; die "apt-get update failed"; }
	install_missing || { tail -n 30 "$log" >&2; die "apt-get could not install:$missing"; }
fi
