"""Candidate training rows: tasks of all training sources, augmented, as prompts."""

import argparse
import json
from pathlib import Path

from arc_precision.cli import hide_torch, run
from arc_precision.config.base import from_words
from arc_precision.config.data import CandidatesSlice, located
from arc_precision.prompts import prompt_writer
from arc_precision.tasks.rows import scratch_folder, write_candidates


def main() -> None:
    """Parse arguments, write the Parquet file and its manifest."""
    hide_torch()
    from transformers import AutoTokenizer  # hidden in this process only; worker processes import this module too

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="CandidatesSlice as key=value")
    parser.add_argument("--model", required=True, help="folder of the model, for its tokenizer")
    parser.add_argument("--prompt", help="file of the prompt's template; without it slice.prompt names one")
    parser.add_argument("--paths", type=json.loads, default={}, help="where the sources' files lie: path by name, JSON")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--output", required=True, type=Path, help="Parquet file to write")
    parser.add_argument("--manifest", required=True, type=Path, help="JSON file to write")
    args = parser.parse_args()
    slice = from_words(CandidatesSlice, args.slice)
    slice = slice.model_copy(update={"sources": located(slice.sources, args.paths)})

    write_prompt = prompt_writer(
        args.prompt or slice.prompt, AutoTokenizer.from_pretrained(args.model), slice.data.max_prompt_tokens
    )
    scratch = scratch_folder(args.output, args.slice, slice.sources.values(), write_prompt)
    manifest = write_candidates(slice, write_prompt, args.output, scratch, args.workers)
    args.manifest.write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
