"""Draw completions for every prompt of an evaluation set from one checkpoint, in one sampler dtype.

Writes one row per completion with its tokens and log-probs. Not covered: verdicts (`score.py`).
"""

import argparse
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.evaluation import SampleSlice
from arc_precision.contracts.parquet import read_rows, write_rows
from arc_precision.contracts.samples import SAMPLES
from arc_precision.contracts.tasks import TASKS
from arc_precision.evaluation.drawing import draw
from arc_precision.sampling.engines import EngineMemory, make_sampler
from arc_precision.sampling.handover import whole_weights
from arc_precision.training.base_model import load_base


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="SampleSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--checkpoint", type=Path, nargs="*", default=[], help="trained weights; none: base model")
    EngineMemory.add_arguments(parser)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    slice = from_words(SampleSlice, args.slice)
    rows = list(read_rows(args.rows, TASKS, columns=["row_id", "prompt"]))
    sampler = make_sampler(
        slice.sampling,
        str(args.model),
        slice.dtype,
        slice.device,
        slice.max_prompt_tokens,
        EngineMemory.of(args),
        lora_r=slice.lora_r,
    )
    if args.checkpoint and slice.lora_r:
        sampler.load_adapter(args.checkpoint[0].parent)
    elif args.checkpoint:
        trained = load_base(args.checkpoint[0].parent, "float32", load_in_4bit=False)
        sampler.load_weights(whole_weights(trained, sampler.dtype))
    batches = draw(sampler, args.model, rows, slice.n_samples, slice.seed)
    write_rows(args.output, SAMPLES, batches)


run(main)
