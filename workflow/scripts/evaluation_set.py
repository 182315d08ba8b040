"""Rows of one evaluation set: tasks of its source as prompts, checked against the training data."""

import argparse
import json
from pathlib import Path

from arc_precision.cli import hide_torch, run
from arc_precision.config.base import from_words
from arc_precision.config.data import EvaluationSetSlice, located
from arc_precision.prompts import prompt_writer
from arc_precision.tasks.rows import read_canonical_keys, scratch_folder, write_evaluation_set


def main() -> None:
    """Parse arguments, write the Parquet file and its manifest."""
    hide_torch()
    from transformers import AutoTokenizer  # hidden in this process only; worker processes import this module too

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="EvaluationSetSlice as key=value")
    parser.add_argument("--name", required=True, help="name of the set in the config")
    parser.add_argument("--model", required=True, help="folder of the model, for its tokenizer")
    parser.add_argument("--prompt", help="file of the prompt's template; without it slice.prompt names one")
    parser.add_argument("--paths", type=json.loads, default={}, help="where the source's files lie: path by name, JSON")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--train", required=True, type=Path, help="Parquet file of the training candidates")
    parser.add_argument("--output", required=True, type=Path, help="Parquet file to write")
    parser.add_argument("--manifest", required=True, type=Path, help="JSON file to write")
    args = parser.parse_args()
    slice = from_words(EvaluationSetSlice, args.slice)
    slice = slice.model_copy(update={"source": located({slice.set.source: slice.source}, args.paths)[slice.set.source]})

    write_prompt = prompt_writer(
        args.prompt or slice.prompt, AutoTokenizer.from_pretrained(args.model), slice.set.max_prompt_tokens
    )
    scratch = scratch_folder(args.output, args.slice, [slice.source], write_prompt)
    training_keys = read_canonical_keys(args.train)
    manifest = write_evaluation_set(args.name, slice, write_prompt, training_keys, args.output, scratch, args.workers)
    args.manifest.write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
