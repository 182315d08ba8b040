"""Keep the training rows that the base model solves sometimes: the perfectible set.

The base model samples in float32, never in an arm's dtype, so that the choice favours no arm. Candidates come in a
seeded order until enough are kept; the manifest has the rate of every candidate that was tried.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.data import PerfectibleSlice
from arc_precision.config.sampling import SamplingConfig
from arc_precision.contracts.parquet import read_rows, write_rows
from arc_precision.contracts.tasks import TASKS
from arc_precision.evaluation.perfectible import keep_perfectible
from arc_precision.sampling.engines import EngineMemory, make_sampler

SCHEMA_VERSION = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="PerfectibleSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--candidates", type=Path, required=True, help="candidate rows")
    EngineMemory.add_arguments(parser)
    parser.add_argument("--workers", type=int, default=1, help="programs that run at once")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    args = parser.parse_args()

    slice = from_words(PerfectibleSlice, args.slice)
    rows = list(read_rows(args.candidates, TASKS))
    order = np.random.default_rng(slice.perfectible.seed).permutation(len(rows))
    sampler = make_sampler(
        SamplingConfig(max_completion_tokens=slice.max_completion_tokens),
        str(args.model),
        "float32",
        slice.device,
        max(row["prompt_tokens"] for row in rows),
        EngineMemory.of(args),
    )
    kept, rates = keep_perfectible(sampler, args.model, [rows[i] for i in order], slice, args.workers)
    if not kept:
        band = f"{slice.perfectible.min_rate} to {slice.perfectible.max_rate}"
        raise ValueError(
            f"perfectible: the base model solves none of {len(rates)} candidates at a rate of {band}; widen min_rate "
            "and max_rate, or set perfectible.enabled: false"
        )
    write_rows(args.output, TASKS, [kept])
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "candidates": len(rows),
        "tried": len(rates),
        "kept": len(kept),
        "rates": rates,
    }
    args.manifest.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


run(main)
