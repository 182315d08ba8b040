"""Rows of one evaluation set: tasks of its source as prompts, checked against the training data."""

import argparse
import json
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_settings
from arc_precision.config.data import EvaluationSetSlice, located
from arc_precision.contracts.parquet import read_rows, write_rows
from arc_precision.contracts.tasks import TASKS
from arc_precision.prompts import PromptWriter
from arc_precision.tasks.rows import Counts, batched, evaluation_rows, file_sha256, manifest
from transformers import AutoTokenizer


def main() -> None:
    """Parse arguments, write the Parquet file and its manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfg", nargs="+", required=True, help="EvaluationSetSlice as key=value")
    parser.add_argument("--name", required=True, help="name of the set in the config")
    parser.add_argument("--model", required=True, help="folder of the model, for its tokenizer")
    parser.add_argument("--paths", type=json.loads, default={}, help="where the source's files lie: path by name, JSON")
    parser.add_argument("--train", required=True, type=Path, help="Parquet file of the training candidates")
    parser.add_argument("--output", required=True, type=Path, help="Parquet file to write")
    parser.add_argument("--manifest", required=True, type=Path, help="JSON file to write")
    args = parser.parse_args()
    cfg = from_settings(EvaluationSetSlice, args.cfg)
    cfg = cfg.model_copy(update={"source": located({cfg.set.source: cfg.source}, args.paths)[cfg.set.source]})

    training_keys = frozenset(row["canonical"] for row in read_rows(args.train, TASKS, ["canonical"]))
    count = Counts()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    write_prompt = PromptWriter(cfg.prompt, tokenizer, cfg.set.max_prompt_tokens)
    batches = batched(evaluation_rows(args.name, cfg, write_prompt, training_keys, count), 256)
    n_rows = write_rows(args.output, TASKS, batches)
    written = manifest(n_rows, file_sha256(args.output), {cfg.set.source: count})
    args.manifest.write_text(json.dumps(written, indent=2) + "\n")


run(main)
