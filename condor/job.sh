#!/bin/bash
# The executable of every cluster job: runs the command given as arguments and passes HTCondor's signal to end on to all its processes.
# HTCondor signals only the process it started; the Snakemake there ignores that and lets its rule run on until the machine's patience
# ends (ten minutes by default), on a machine that somebody else wants, and for nothing: the rule starts from scratch elsewhere.

# In a container the controller's Python does not exist: the image's takes its place.
[ -x "$1" ] || set -- python3 "${@:2}"

setsid "$@" &      # a process group of its own
trap 'kill -TERM -- -$!' TERM
# `wait` returns early when the trap has run
while wait $!; status=$?; kill -0 $! 2> /dev/null; do :; done
exit $status
