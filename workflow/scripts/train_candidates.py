"""Candidate training rows: tasks of all training sources, augmented, as prompts."""

import argparse
import json
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_settings
from arc_precision.config.data import CandidatesSlice, located
from arc_precision.contracts.parquet import write_rows
from arc_precision.contracts.tasks import TASKS
from arc_precision.prompts import PromptWriter
from arc_precision.tasks.rows import Counts, batched, candidate_rows, file_sha256, manifest
from transformers import AutoTokenizer


def main() -> None:
    """Parse arguments, write the Parquet file and its manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfg", nargs="+", required=True, help="CandidatesSlice as key=value")
    parser.add_argument("--model", required=True, help="folder of the model, for its tokenizer")
    parser.add_argument("--paths", type=json.loads, default={}, help="where the sources' files lie: path by name, JSON")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--output", required=True, type=Path, help="Parquet file to write")
    parser.add_argument("--manifest", required=True, type=Path, help="JSON file to write")
    args = parser.parse_args()
    cfg = from_settings(CandidatesSlice, args.cfg)
    cfg = cfg.model_copy(update={"sources": located(cfg.sources, args.paths)})

    counts: dict[str, Counts] = {}
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    write_prompt = PromptWriter(cfg.prompt, tokenizer, cfg.data.max_prompt_tokens)
    batches = batched(candidate_rows(cfg, write_prompt, counts), 256)
    n_rows = write_rows(args.output, TASKS, batches)
    written = manifest(n_rows, file_sha256(args.output), counts)
    args.manifest.write_text(json.dumps(written, indent=2) + "\n")


run(main)
