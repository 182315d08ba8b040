#!/bin/bash
# Installs Debian's Slurm and munge when they are missing. Their services are not started: the tests start daemons of their own.
set -euo pipefail
for program in munged slurmctld slurmd squeue; do
    command -v $program > /dev/null && continue
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -y install --no-install-recommends munge slurmctld slurmd slurm-client
    break
done
slurmctld -V
