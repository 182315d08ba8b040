"""Run the programs of drawn completions and score their outputs. Needs no model and no GPU."""

import argparse
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.evaluation import ScoreSlice
from arc_precision.contracts.parquet import read_rows, write_rows
from arc_precision.contracts.samples import SAMPLES
from arc_precision.contracts.scores import SCORES
from arc_precision.contracts.tasks import TASKS
from arc_precision.evaluation.scoring import score_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="ScoreSlice as key=value")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--samples", type=Path, required=True, help="completions")
    parser.add_argument("--workers", type=int, default=1, help="programs that run at once")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    slice = from_words(ScoreSlice, args.slice)

    rows = {row["row_id"]: row for row in read_rows(args.rows, TASKS)}
    samples = list(read_rows(args.samples, SAMPLES))
    scored = list(score_rows(rows, samples, slice.reward, slice.sandbox, args.workers))
    write_rows(args.output, SCORES, [scored])


run(main)
