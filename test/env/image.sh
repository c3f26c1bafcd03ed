#!/bin/bash
# Hook images without network: an archive of two layers, busybox and the hook,
# the same bytes (so the same image id) each time and on both engines.
#   image.sh load FOLDER…      builds and loads localhost/osa-<folder's name>:1
#   image.sh archive FOLDER    builds only; prints the archive's path ("base":
#                              busybox alone)
#   image.sh registry-port     prints the port of the tests' own registry
# A folder holds hook (a script for busybox sh) or hook.c (linked statically),
# and files beside it that come along, in / of the image; hook.c may include
# headers that lie beside the folders.
. "$(dirname "$0")/lib.sh"

images=$OSA_STATE/images
tar_same="tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner"
sum() { sha256sum "$1" | cut -d' ' -f1; }

machine() {
	case $(uname -m) in
	x86_64) echo amd64 ;;
	aarch64) echo arm64 ;;
	*) dpkg --print-architecture ;;
	esac
}

busybox() {
	local path
	for path in /bin/busybox /usr/bin/busybox; do
		[ -x $path ] && { echo $path; return; }
	done
	die "busybox-static is missing"
}

# Layer 1, made once for all images.
base_layer() {
	local box layer tree applet
	box=$(busybox)
	layer=$images/base-$(sum "$box" | cut -c1-16).layer
	if [ ! -f "$layer" ]; then
		tree=$(mktemp -d "$images/tree.XXXXXX")
		mkdir -p "$tree"/{bin,dev,etc,proc,run,sys,osa,var/tmp}
		mkdir -m 1777 "$tree/tmp"
		chmod 1777 "$tree/var/tmp"
		cp "$box" "$tree/bin/busybox"
		chmod 755 "$tree/bin/busybox"
		for applet in $("$box" --list); do
			[ "$applet" = busybox ] || ln -sf busybox "$tree/bin/$applet"
		done
		$tar_same -C "$tree" -cf "$layer.tmp" .
		mv "$layer.tmp" "$layer"
		rm -rf "$tree"
	fi
	echo "$layer"
}

hook_layer() {
	local folder=$1 layer=$2 tree
	tree=$(mktemp -d "$images/tree.XXXXXX")
	cp -R "$folder/." "$tree/"
	if [ -f "$folder/hook.c" ]; then
		rm "$tree/hook.c"
		gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -s -Wl,--build-id=none \
			-o "$tree/hook" "$folder/hook.c" -lm || die "$folder/hook.c does not compile"
	fi
	[ -f "$tree/hook" ] || die "$folder has neither hook nor hook.c"
	find "$tree" -type d -exec chmod 755 {} +
	find "$tree" -type f -exec chmod 644 {} +
	chmod 755 "$tree" "$tree/hook"
	$tar_same -C "$tree" -cf "$layer" .
	rm -rf "$tree"
}

# Prints the archive's path; beside it <name>.id holds the image's id.
archive() {
	local name=${1##*/} from=$1 key base tree config entry= diffs layers out
	mkdir -p "$images"
	base=$(base_layer)
	out=$images/$name
	key=$({
		echo "2 $base"
		[ "$name" = base ] || (cd "$from" && find . ../*.h -type f 2>/dev/null | sort | xargs -d '\n' sha256sum)
	} | sha256sum)
	if [ "$(cat "$out.key" 2>/dev/null)" = "$key" ] && [ -f "$out.tar" ]; then
		echo "$out.tar"
		return
	fi
	tree=$(mktemp -d "$images/tree.XXXXXX")
	mkdir "$tree/a"
	ln "$base" "$tree/a/base.tar"
	diffs="\"sha256:$(sum "$base")\""
	layers='"base.tar"'
	if [ "$name" != base ]; then
		hook_layer "$from" "$tree/a/hook.tar"
		diffs="$diffs,\"sha256:$(sum "$tree/a/hook.tar")\""
		layers="$layers,\"hook.tar\""
		entry='"Entrypoint":["/hook"],'
	fi
	printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":{%s"Env":["PATH=/bin"],"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
		"$(machine)" "$entry" "$diffs" >"$tree/config"
	config=$(sum "$tree/config")
	mv "$tree/config" "$tree/a/$config.json"
	printf '[{"Config":"%s.json","RepoTags":["localhost/osa-%s:1"],"Layers":[%s]}]' \
		"$config" "$name" "$layers" >"$tree/a/manifest.json"
	$tar_same -C "$tree/a" -cf "$tree/new" manifest.json "$config.json" base.tar $([ "$name" = base ] || echo hook.tar)
	mv "$tree/new" "$out.tar"
	echo "sha256:$config" >"$out.id"
	echo "$key" >"$out.key"
	rm -rf "$tree"
	echo "$out.tar"
}

# Is this very image there under its name?
loaded() {
	local name=$1 id
	id=$(cat "$images/$name.id")
	engine_api GET "/images/localhost/osa-$name:1/json" | grep -qE "\"Id\": ?\"$id\""
}

load() {
	local folder name path answer
	for folder; do
		folder=${folder%/}
		name=${folder##*/}
		path=$(archive "$folder")
		loaded "$name" && continue
		answer=$(engine_api POST /images/load -H 'Content-Type: application/x-tar' -H 'Expect:' -T "$path")
		loaded "$name" || die "image localhost/osa-$name:1 could not be loaded: $answer"
		say "image: localhost/osa-$name:1"
	done
}

case ${1-} in
archive) archive "$2" ;;
load) shift; load "$@" ;;
registry-port) echo $((20000 + 0x$osa_hash % 10000)) ;;
*) die "usage: image.sh load FOLDER…|archive FOLDER|registry-port" ;;
esac
