"""Train the tiny ARC model from scratch on generated tasks.

python workflow/scripts/pretrain.py --slice steps=13000 --workers 14 --output-dir DIR --log-jsonl FILE
"""

import argparse
import json
from pathlib import Path
from typing import Any

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.pretrain import PretrainConfig
from arc_precision.pretraining import pretrain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slice", nargs="*", default=[], help="PretrainConfig as key=value")
    parser.add_argument("--workers", type=int, default=0, help="processes that make tasks; 0: the trainer does")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder for the model")
    parser.add_argument("--log-jsonl", type=Path, required=True, help="file for the log, a JSON object per line")
    args = parser.parse_args()

    args.log_jsonl.parent.mkdir(parents=True, exist_ok=True)
    with args.log_jsonl.open("w") as file:

        def log(line: dict[str, Any]) -> None:
            print(json.dumps(line), file=file, flush=True)
            print(json.dumps(line), flush=True)

        pretrain(from_words(PretrainConfig, args.slice), args.workers, args.output_dir, log)


if __name__ == "__main__":
    run(main)
