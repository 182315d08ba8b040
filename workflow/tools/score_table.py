"""The score of every scored checkpoint of an experiment: one line per file, tasks and pass@k.

    score_table.py results/base-sampled [--output scores.json]

These files lack the tasks whose prompt was dropped for its length; `tasks` is the number of tasks in them.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from arc_precision.cli import run
from arc_precision.contracts import layout
from arc_precision.contracts.parquet import read_table
from arc_precision.contracts.scores import SCORES
from arc_precision.evaluation.task_metrics import per_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results/<experiment>")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()

    rows = []
    for path, values in layout.SCORES.find(args.results):
        names = [name for name in SCORES.names if name != "outputs"]
        tasks = per_task(read_table(path, SCORES, names).to_pandas())
        rates = {name: tasks[name].mean() for name in tasks if name.startswith("pass@")}
        counts = {"tasks": len(tasks), "completions": int(tasks["n"].sum()), "solved": int(tasks["solved_any"].sum())}
        rows.append({**values, **counts, **rates})
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.4f"))
    if args.output:
        args.output.write_text(json.dumps(rows, indent=1) + "\n")


run(main)
