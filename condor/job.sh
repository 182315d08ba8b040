#!/bin/bash
# The executable of every cluster job: runs the command in its arguments, and passes HTCondor's signal to end to all its processes.
# HTCondor signals only the process that it started. Snakemake ignores that signal, and its rule would keep the machine until HTCondor
# kills it (ten minutes by default). That time would be wasted, since the rule starts again elsewhere.

# A container lacks the controller's Python, so the image's own is used.
[ -x "$1" ] || set -- python3 "${@:2}"

setsid "$@" &      # a process group of its own
trap 'kill -TERM -- -$! 2> /dev/null || kill -TERM $!' TERM
# `wait` also returns when the trap has run
while wait $!; status=$?; kill -0 $! 2> /dev/null; do :; done
exit $status
