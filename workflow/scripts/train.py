"""Train one segment of a run: from the checkpoint before it to the next.

Reads the training rows, the base model and the previous checkpoint; writes the checkpoint folder, one JSON row per
optimizer step, its times, some of its completions, and the facts in effect. Not covered: the limits of segments, which
the rule decides.
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

    start = args.stop - slice.training.segment_steps
    files = [SegmentFiles.of_run(folder, start, args.stop, args.train, args.model) for folder in args.run_dirs]
    kept = {"declared": args.declared, **provenance()}
    curves = [reporting(args.watch, run_dir) for run_dir in args.run_dirs]
    run_segment(slice, args.seeds, start, args.stop, files, args.workers, EngineMemory.of(args), kept, curves)


run(main)
