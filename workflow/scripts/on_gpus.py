"""Run a command on GPUs of this machine: `on_gpus.py N alone|shared COMMAND ...`.

The command sees only its own GPUs, in CUDA_VISIBLE_DEVICES. If that variable is already set, as in a job of a pool, the
choice is among the GPUs that it names. Not covered: whether a command may share, which the rules decide.
"""

import os
import sys

from arc_precision.cli import run
from arc_precision.gpus import claim, visible_gpus


def main() -> None:
    n, alone, command = int(sys.argv[1]), sys.argv[2] == "alone", sys.argv[3:]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(claim(visible_gpus(), n, alone))
    os.execvp(command[0], command)


run(main)
