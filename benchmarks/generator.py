"""Measure how many tasks a second the generator makes on one core.

python benchmarks/generator.py --tasks 2000
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from arc_precision.tasks.generator import generate_task  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.process_time()
    for index in range(args.tasks):
        generate_task(args.seed, index)
    seconds = time.process_time() - started
    print(f"{args.tasks} tasks in {seconds:.2f} CPU seconds: {args.tasks / seconds:.0f} tasks per second and core")


if __name__ == "__main__":
    main()
