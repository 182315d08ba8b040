"""Train one segment of a run: from the checkpoint before it to the next.

Reads the training rows, the base model and the previous checkpoint; writes the checkpoint folder, one JSON row per
optimizer step, its times, and the facts in effect. Not covered: where segments begin and end, which the rule decides.
"""

import argparse
import json
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.training import TrainSlice
from arc_precision.provenance import provenance
from arc_precision.sampling.engines import EngineMemory
from arc_precision.training.segment import SegmentFiles, run_segment
from arc_precision.training.watching import reporting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="TrainSlice as key=value")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="of the runs that train together")
    parser.add_argument("--stop", type=int, required=True, help="last step of the segment")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--train", type=Path, required=True, help="training rows")
    parser.add_argument("--run-dirs", type=Path, nargs="+", required=True, help="folder of each run")
    parser.add_argument("--declared", type=json.loads, required=True, help="primary outcome and collapse rule, kept")
    parser.add_argument("--workers", type=int, default=1, help="programs that run at once")
    parser.add_argument("--watch", default="none", help="library that writes live curves")
    EngineMemory.add_arguments(parser, percent=30)
    args = parser.parse_args()
    slice = from_words(TrainSlice, args.slice)

    segment = slice.training.segment_steps
    start = args.stop - segment
    files = [
        SegmentFiles(
            train=args.train,
            model=args.model,
            previous=run_dir / f"checkpoint-{start}" if start else None,
            previous_facts=run_dir / f"facts-{start}.json" if start else None,
            checkpoint=run_dir / f"checkpoint-{args.stop}",
            steps=run_dir / f"steps-{args.stop}.jsonl",
            timing=run_dir / f"timing-{args.stop}.jsonl",
            facts=run_dir / f"facts-{args.stop}.json",
        )
        for run_dir in args.run_dirs
    ]
    kept = {"declared": args.declared, **provenance()}
    curves = [reporting(args.watch, run_dir) for run_dir in args.run_dirs]
    run_segment(slice, args.seeds, start, args.stop, files, args.workers, EngineMemory.of(args), kept, curves)


run(main)
