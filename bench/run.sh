#!/bin/bash
# Runs the benchmarks: all of them, or those named.  `make bench` calls it on an
# instance of its own; exit code 1 if a target is missed.
cd "$(dirname "$0")"
failed=
for name in ${*:-latency saga engine idle}; do
	./"$name" || failed="$failed $name"
done
[ -z "$failed" ] || { echo "missed or failed:$failed" >&2; exit 1; }
