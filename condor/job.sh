#!/bin/bash
# The executable of every cluster job: runs the command given as arguments, and passes HTCondor's signal to end on to all its processes.
# HTCondor signals only the process it started. The Snakemake there ignores that and lets its rule run on until the machine's patience
# ends (ten minutes by default): on a machine that somebody else wants, and for nothing, since the rule starts anew elsewhere.

# In a container the controller's Python does not exist; the image's takes its place.
[ -x "$1" ] || set -- python3 "${@:2}"

setsid "$@" &      # a process group of its own
trap 'kill -TERM -- -$! 2> /dev/null || kill -TERM $!' TERM
# `wait` also returns when the trap has run
while wait $!; status=$?; kill -0 $! 2> /dev/null; do :; done
exit $status
