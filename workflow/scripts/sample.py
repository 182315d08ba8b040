"""Draw completions for every prompt of an evaluation set from one checkpoint, in one sampler dtype.

Writes one row per completion with its tokens and log-probs. Not covered: verdicts (`score.py`).
"""

import argparse
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_settings
from arc_precision.config.evaluation import SampleSlice
from arc_precision.contracts.parquet import read_rows, write_rows
from arc_precision.contracts.samples import SAMPLES
from arc_precision.contracts.tasks import TASKS
from arc_precision.evaluation.drawing import draw
from arc_precision.model.files import adapter_folders
from arc_precision.sampling.engines import EngineMemory, make_sampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfg", nargs="+", required=True, help="SampleSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--rows", type=Path, required=True, help="task file")
    parser.add_argument("--adapters", type=Path, nargs="*", default=[], help="files of adapters; none: base model")
    EngineMemory.add_arguments(parser)
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="of each adapter")
    args = parser.parse_args()

    cfg = from_settings(SampleSlice, args.cfg)
    rows = list(read_rows(args.rows, TASKS, columns=["row_id", "prompt"]))
    folders = adapter_folders(args.adapters) or [None]
    sampler = make_sampler(
        cfg.sampling,
        str(args.model),
        cfg.dtype,
        cfg.device,
        cfg.max_prompt_tokens,
        EngineMemory.of(args),
        lora_r=cfg.lora_r,
    )
    for folder, output in zip(folders, args.outputs, strict=True):
        if folder:
            sampler.load_adapter(folder)
        write_rows(output, SAMPLES, draw(sampler, args.model, rows, cfg.n_samples, cfg.seed))


run(main)
