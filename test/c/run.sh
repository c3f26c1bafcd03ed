#!/bin/bash
# The tests of the C parts: each folder here has a run.sh that prints TAP and
# runs from anywhere, without installing anything.
cd "$(dirname "$0")/../.." || exit 1
exec prove --norc --timer --exec bash test/c/*/run.sh
