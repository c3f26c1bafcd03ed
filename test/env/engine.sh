#!/bin/bash
# engine.sh start|stop|clear|wipe|status: the instance's private engine.
#   start   starts it under its keeper and finds a runtime that works here
#   clear   removes its containers and volumes and empties its event log
#   stop    removes containers, ends everything, keeps images
#   wipe    stop, and removes its storage too
. "$(dirname "$0")/lib.sh"

keeper() { perl "$osa_env/keeper-say.pl" "$sockets/control.sock" "$@"; }
running_kind() { cat "$instance/engine.kind" 2>/dev/null || true; }

podman_conf() {
	local runtime=$1 manager=$2
	cat >"$instance/podman/containers.conf" <<-CONF
	[engine]
	runtime = "$runtime"
	cgroup_manager = "$manager"
	events_logger = "file"
	events_logfile_path = "$instance/podman/events.log"
	events_logfile_max_size = "64m"
	lock_type = "file"
	tmp_dir = "$instance/podman/tmp"
	num_locks = 2048
	[containers]
	init_path = "$(command -v catatonit)"
	default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
	CONF
	cat >"$instance/podman/storage.conf" <<-CONF
	[storage]
	driver = "overlay"
	graphroot = "$instance/podman/root"
	runroot = "$instance/podman/run"
	CONF
	# Tests serve images from a registry of their own on this port.
	cat >"$instance/podman/registries.conf" <<-CONF
	unqualified-search-registries = []
	[[registry]]
	location = "127.0.0.1:$("$osa_env/image.sh" registry-port)"
	insecure = true
	CONF
}

podman_cli() {
	env CONTAINERS_CONF="$instance/podman/containers.conf" \
		CONTAINERS_STORAGE_CONF="$instance/podman/storage.conf" \
		CONTAINERS_REGISTRIES_CONF="$instance/podman/registries.conf" \
		TMPDIR="$instance/podman/scratch" timeout -k 5 60 podman "$@"
}

# One container with the limits that hooks get.
podman_try() {
	podman_cli run --rm --network none --read-only --user 65534:65534 --cap-drop all \
		--security-opt no-new-privileges --init --pids-limit 64 --memory 64m --memory-swap 64m \
		--cpus 0.5 --ulimit nofile=256:256 --ulimit nproc=16384:16384 --ulimit core=0:0 \
		--tmpfs /tmp:rw,noexec,nosuid,nodev,size=1m -v /osa \
		localhost/osa-base:1 /bin/true
}

# Which runtime and cgroup driver work cannot be told by looking: try them.
podman_probe() {
	local found=$instance/podman/works want runtime manager managers=cgroupfs
	want="$(cat /proc/sys/kernel/random/boot_id) $(podman --version)"
	if [ "$(sed -n 1p "$found" 2>/dev/null)" = "$want" ]; then
		read -r runtime manager < <(sed -n 2p "$found")
		podman_conf "$runtime" "$manager"
		return
	fi
	[ -d /run/systemd/system ] && managers="systemd cgroupfs"
	mkdir -p "$instance/podman/scratch" "$instance/podman/tmp" "$instance/podman/run"
	: >"$instance/log/probe.log"
	for runtime in crun runc; do
		command -v $runtime >/dev/null || continue
		for manager in $managers; do
			podman_conf $runtime $manager
			if {
				echo "--- $runtime, $manager"
				podman_cli load -i "$("$osa_env/image.sh" archive base)" && podman_try
			} >>"$instance/log/probe.log" 2>&1; then
				printf '%s\n%s %s\n' "$want" $runtime $manager >"$found"
				return
			fi
		done
	done
	cat "$instance/log/probe.log" >&2
	die "no runtime and cgroup driver of Podman's works on this machine (tried above)"
}

cgroup_version() { [ -f /sys/fs/cgroup/cgroup.controllers ] && echo 2 || echo 1; }

describe() {
	if [ "$ENGINE" = podman ]; then
		say "engine: $(podman --version | sed 's/ version//') with $(sed -n '2s/ /, /p' "$instance/podman/works"), cgroup v$(cgroup_version)"
	else
		say "engine: $(dockerd --version | sed 's/ version//; s/,.*//'), cgroup v$(cgroup_version)"
	fi
}

# Whatever became of an earlier keeper or engine: keeper.pl sees to that.
have_keeper() {
	keeper status >/dev/null 2>&1 && return
	install -d -m 0700 "$instance/$1"
	install -d -o root -g postgres -m 0750 "$sockets"
	echo "$1" >"$instance/engine.kind"
	setsid perl "$osa_env/keeper.pl" "$instance" "$1" serve \
		</dev/null >>"$instance/log/keeper.log" 2>&1 8>&- 9>&- &
	local i
	for i in $(seq 200); do
		keeper status >/dev/null 2>&1 && return
		sleep 0.05
	done
	tail -n 20 "$instance/log/keeper.log" >&2
	die "the engine's keeper does not start"
}

start() {
	need_root
	make_state
	local running
	running=$(running_kind)
	[ -z "$running" ] || [ "$running" = "$ENGINE" ] || stop
	[[ $(keeper status 2>/dev/null) != up* ]] || return 0
	if [ "$ENGINE" = podman ]; then
		install -d -m 0700 "$instance/podman"
		podman_probe
	fi
	have_keeper "$ENGINE"
	keeper start >/dev/null || {
		tail -n 20 "$instance/log/engine.log" >&2
		die "the engine does not start; its log: $instance/log/engine.log"
	}
	describe
}

stop() {
	local running
	running=$(running_kind)
	[ -n "$running" ] || return 0
	need_root
	have_keeper "$running"
	keeper stop >/dev/null
	rm -f "$instance/engine.kind"
}

clear_containers() {
	local id log
	for id in $(engine_api GET '/containers/json?all=1' | grep -oE '"Id": ?"[0-9a-f]{64}"' | grep -oE '[0-9a-f]{64}'); do
		engine_api DELETE "/containers/$id?force=1&v=1" >/dev/null
	done
	engine_api POST /volumes/prune >/dev/null
	for log in "$instance/events.jsonl" "$instance/podman/events.log"; do
		[ ! -f "$log" ] || : >"$log"
	done
}

case ${1-} in
start) start ;;
clear) clear_containers ;;
stop) stop ;;
wipe) stop; rm -rf "$instance/podman" "$instance/docker" "$instance/s" "$instance/events.jsonl" ;;
status) keeper status 2>/dev/null || echo "down" ;;
*) die "usage: engine.sh start|clear|stop|wipe|status" ;;
esac
