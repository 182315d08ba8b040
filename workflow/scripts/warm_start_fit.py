"""Fine-tune a pretrained model on tasks and their programs.

python workflow/scripts/warm_start_fit.py --slice device='"cuda"' prompt='"barc"' warm_start.steps=480 --model DIR \
  --workers 7 --output-dir DIR --checkpoints DIR --log-jsonl FILE
"""

import argparse
import hashlib
import shutil
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.warm_start import WarmStartSlice
from arc_precision.warm_start.fit import warm_start


def main() -> None:
    """Parse arguments, fine-tune."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slice", nargs="+", required=True, help="WarmStartSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model to start from")
    parser.add_argument("--prompt", help="file of the prompt's template; without it slice.prompt names one")
    parser.add_argument("--model-files", nargs="*", default=[], help="NAME=SHA-256 of its files, which tell runs apart")
    parser.add_argument("--source-path", help="where BARC's file lies")
    parser.add_argument("--workers", type=int, default=0, help="processes that make examples; 0: the trainer does")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder for the model")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder for checkpoints, removed at the end")
    parser.add_argument("--log-jsonl", type=Path, required=True, help="file for the log, a JSON object per line")
    args = parser.parse_args()

    name = hashlib.sha256("\n".join([*args.slice, *args.model_files]).encode()).hexdigest()[:16]
    for other in args.checkpoints.glob("*"):
        if other.name != name:
            shutil.rmtree(other)  # checkpoints of other settings, or of another model
    slice = from_words(WarmStartSlice, args.slice)
    slice = slice.model_copy(update={"prompt": args.prompt or slice.prompt})
    if args.source_path:
        slice = slice.with_path(args.source_path)
    warm_start(slice, args.model, args.workers, args.output_dir, args.checkpoints / name, args.log_jsonl)
    shutil.rmtree(args.checkpoints)


if __name__ == "__main__":
    run(main)
