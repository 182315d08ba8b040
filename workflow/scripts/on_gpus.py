"""Run a command on GPUs of this machine: `on_gpus.py N alone|shared COMMAND ...`.

It sees its own GPUs only, in CUDA_VISIBLE_DEVICES. Where that variable is set, as in a job of a pool, the choice is
among what it names. Not covered: which command may share, which the rules decide.
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
