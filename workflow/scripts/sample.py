"""Draw completions for every prompt of an evaluation set from one checkpoint, in one sampler dtype.

Writes one row per completion with its tokens and log-probs, and the time it took. Not covered: verdicts (`score.py`).
"""

import argparse
import time
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.evaluation import SampleSlice
from arc_precision.contracts.costs import write_cost
from arc_precision.contracts.parquet import read_rows, write_rows
from arc_precision.contracts.samples import SAMPLES
from arc_precision.contracts.tasks import TASKS
from arc_precision.evaluation.drawing import draw
from arc_precision.model.folder import checkpoint_folders
from arc_precision.sampling.engines import EngineMemory, make_sampler
from arc_precision.sampling.handover import whole_weights
from arc_precision.training.base_model import load_base


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="SampleSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--checkpoints", type=Path, nargs="*", default=[], help="trained weights; none: base model")
    EngineMemory.add_arguments(parser)
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="Parquet file of each checkpoint")
    parser.add_argument("--costs", type=Path, nargs="+", required=True, help="JSON file of each checkpoint")
    args = parser.parse_args()

    slice = from_words(SampleSlice, args.slice)
    rows = list(read_rows(args.rows, TASKS, columns=["row_id", "prompt", "prompt_tokens"]))
    folders = checkpoint_folders(args.checkpoints) or [None]
    sampler = make_sampler(
        slice.sampling,
        str(args.model),
        slice.dtype,
        slice.device,
        slice.max_prompt_tokens,
        EngineMemory.of(args),
        lora_r=slice.lora_r,
    )
    for folder, output, cost in zip(folders, args.outputs, args.costs, strict=True):
        if folder and slice.lora_r:
            sampler.load_adapter(folder)
        elif folder:
            sampler.load_weights(whole_weights(load_base(folder, "float32", load_in_4bit=False), sampler.dtype))
        began = time.monotonic()
        write_rows(output, SAMPLES, draw(sampler, args.model, rows, slice.n_samples, slice.seed))
        write_cost(cost, time.monotonic() - began, [row["prompt_tokens"] for row in rows], slice.n_samples)


run(main)
