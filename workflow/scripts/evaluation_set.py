"""Rows of one evaluation set: tasks of its source as prompts, checked against the training data."""

import argparse
import json
from pathlib import Path

from transformers import AutoTokenizer

from arc_precision.cli import run
from arc_precision.config.data import EvaluationSetSlice
from arc_precision.contracts.parquet import read_rows, write_rows
from arc_precision.contracts.tasks import TASKS
from arc_precision.prompts import PromptWriter
from arc_precision.tasks.rows import Counts, batched, evaluation_rows, file_sha256, manifest


def main() -> None:
    """Parse arguments, write the Parquet file and its manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cfg", required=True, type=EvaluationSetSlice.model_validate_json, help="slice as JSON"
    )
    parser.add_argument("--name", required=True, help="name of the set in the config")
    parser.add_argument("--model", required=True, help="folder of the model, for its tokenizer")
    parser.add_argument("--train", required=True, type=Path, help="Parquet file of the training candidates")
    parser.add_argument("--output", required=True, type=Path, help="Parquet file to write")
    parser.add_argument("--manifest", required=True, type=Path, help="JSON file to write")
    args = parser.parse_args()

    training_keys = frozenset(row["canonical"] for row in read_rows(args.train, TASKS, ["canonical"]))
    count = Counts()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    write_prompt = PromptWriter(args.cfg.prompt, tokenizer, args.cfg.set.max_prompt_tokens)
    batches = batched(evaluation_rows(args.name, args.cfg, write_prompt, training_keys, count), 256)
    n_rows = write_rows(args.output, TASKS, batches)
    written = manifest(n_rows, file_sha256(args.output), {args.cfg.set.source: count})
    args.manifest.write_text(json.dumps(written, indent=2) + "\n")


run(main)
