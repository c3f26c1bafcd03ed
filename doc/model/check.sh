#!/bin/bash
# Checks step.pml with spin: that it holds, and that each broken variant is
# caught by the property that it breaks.  TAP.  One core, less than 1 GB.
#
# check.sh [VARIANT [flag…]]: that one alone, and its trace in words, e.g.
#   doc/model/check.sh REMOVAL_BEFORE_FLUSH -DRESTARTS=0
set -u
model=$(cd "$(dirname "$0")" && pwd -P)/step.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
cp "$model" .
export LC_ALL=C.UTF-8

number=0
failed=0
report() { # ok|not-ok text
	number=$((number + 1))
	if [ "$1" = ok ]; then
		echo "ok $number - $2"
	else
		failed=$((failed + 1))
		echo "not ok $number - $2"
		sed 's/^/# /' verdict
	fi
}

# Runs the verifier; its output is in verdict, a violation's trail beside it.
# verify safety|liveness flag…
verify() {
	local kind=$1 compile run
	shift
	rm -f step.pml.trail pan
	if [ "$kind" = liveness ]; then
		set -- "$@" -DLIVENESS
		compile="-DNFAIR=3"
		run="-a -f"
	else
		compile=-DSAFETY
		run=
	fi
	# shellcheck disable=SC2086  # words are meant
	spin -a "$@" step.pml >verdict 2>&1 &&
		gcc "$optimize" -w $compile -DCOLLAPSE -DVECTORSZ=1024 -DMEMLIM=1500 -o pan pan.c >>verdict 2>&1 &&
		./pan -m200000 -w24 $run >verdict 2>&1
}

# Searched whole and nothing found: a search that was cut short proves nothing.
is_whole() {
	grep -q 'errors: 0$' verdict && ! grep -Eq 'Search not completed|max search depth too small|memory limit|MEMLIM' verdict
}

states() { sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' verdict; }

holds() { # kind text flag…
	local kind=$1 text=$2
	shift 2
	optimize=-O2
	if verify "$kind" "$@" && is_whole; then
		report ok "model holds, $kind: $text ($(states) states)"
	else
		report not-ok "model holds, $kind: $text"
	fi
}

# The name of the property that the trail violates.
violated() {
	local line
	[ -f step.pml.trail ] || return
	if grep -q 'acceptance cycle' verdict; then
		echo "every run ends"
		return
	fi
	line=$(spin -T -t "$@" step.pml 2>/dev/null | sed -n 's/.*step\.pml:\([0-9]*\), Error: assertion violated.*/\1/p')
	[ -z "$line" ] || sed -n "${line}s/.*HOLDS(\"\([^\"]*\)\".*/\1/p" step.pml
}

caught() { # kind variant property flag…
	local kind=$1 variant=$2 property=$3 by
	shift 3
	optimize=-O0				# found soon: compiling takes longer
	verify "$kind" "-D$variant" "$@"
	by=$(violated "-D$variant" "$@")
	if [ "$by" = "$property" ]; then
		report ok "variant $variant is caught: $property"
	else
		echo "# caught by: ${by:-nothing}" >>verdict
		report not-ok "variant $variant is caught: $property"
	fi
}

if [ $# -gt 0 ]; then
	variant=-D$1
	shift
	spin -a "$variant" "$@" step.pml && gcc -O0 -w -DSAFETY -DBFS -DCOLLAPSE -DVECTORSZ=1024 -DMEMLIM=1500 -o pan pan.c || exit 1
	./pan -m200000 >verdict 2>&1
	[ -f step.pml.trail ] || { cat verdict; exit 1; }
	spin -T -t "$variant" "$@" step.pml | sed '/spin: trail ends/,$d'
	echo "violated: $(violated "$variant" "$@")"
	exit 0
fi

holds safety "a crash, a restart of the engine, a cancel, a retry and a bad exit"
holds safety "two crashes and a removal that is refused" -DCRASHES=2 -DFAILED_REMOVALS=1 -DRESTARTS=0 -DBAD_EXITS=0
holds safety "two crashes and two restarts of the engine" -DCRASHES=2 -DRESTARTS=2 -DCANCELS=0 -DRETRIES=0
holds safety "a failure while the container runs on" -DGIVE_UPS=1 -DRESTARTS=0 -DBAD_EXITS=0
holds liveness "a crash, a restart of the engine and a bad exit" -DCANCELS=0 -DRETRIES=0
holds liveness "a crash, a cancel and a retry" -DRESTARTS=0 -DBAD_EXITS=0

disk="nothing is done before what it relies on is on disk"
once="no hook runs again while its container survives"
gone="an attempt begins when the container before is gone"
given="only what was ended from outside is given up"
few="-DRESTARTS=0 -DBAD_EXITS=0"
# shellcheck disable=SC2086  # words are meant
{
	caught safety NO_TOKEN "a result is committed for its own launch" $few
	caught safety NO_FENCE "one terminal event a round" $few -DRETRIES=0
	caught safety CREATE_BEFORE_FLUSH "$disk" $few
	caught safety REMOVAL_BEFORE_FLUSH "$disk" $few
	caught safety LAUNCH_BY_CLAIM "$once" $few
	caught safety VOID_BY_READING "$disk" $few
	caught safety REFUSED_BY_READING "$disk" -DGIVE_UPS=1 $few
	caught safety LEFTOVERS_BY_READING "$disk" $few
	caught safety LOAD_WITHOUT_TOKEN "$given" $few
	caught safety TOKEN_AFTER_REMOVAL "$given" -DRESTARTS=0
	caught safety NO_WAIT_FOR_REMOVAL "$gone" -DRESTARTS=0
	caught safety NO_CLEARING "$gone" $few
	caught safety START_RESTARTS "$once" $few
	caught safety NO_RECOVERY "every run ends" $few
	caught liveness NO_LEFTOVERS "every run ends" $few
}
echo "1..$number"
[ $failed = 0 ]
