"""One evaluated checkpoint as Kaggle's submission.json. Tasks that were not sampled are in it, unanswered."""

import argparse
import json
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.data import SubmissionSlice, located
from arc_precision.contracts.parquet import read_table
from arc_precision.contracts.scores import SCORES
from arc_precision.evaluation.kaggle_submission import submission
from arc_precision.tasks.sources import load_source

COLUMNS = ["task_id", "train_correct", "train_total", "program"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="SubmissionSlice as key=value")
    parser.add_argument("--paths", type=json.loads, default={}, help="where the source's files lie: path by name, JSON")
    parser.add_argument("--scores", type=Path, required=True, help="scored completions")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    slice = from_words(SubmissionSlice, args.slice)

    tasks = load_source(located({slice.source_name: slice.source}, args.paths)[slice.source_name])
    table = read_table(args.scores, SCORES, [*COLUMNS, "outputs"])
    answers = submission(tasks, table.select(COLUMNS).to_pandas(), table["outputs"].combine_chunks())
    args.output.write_text(json.dumps(answers) + "\n")


run(main)
