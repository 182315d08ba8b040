"""The score of a model on new tasks, before or after its warm start: completions drawn, run and counted."""

import argparse
import json
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.warm_start import TrialSlice
from arc_precision.sampling.engines import EngineMemory, make_sampler
from arc_precision.warm_start.trial import try_model


def main() -> None:
    """Parse arguments, try the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slice", nargs="+", required=True, help="TrialSlice as key=value")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--prompt", help="file of the prompt's template; without it slice.prompt names one")
    EngineMemory.add_arguments(parser)
    parser.add_argument("--workers", type=int, default=1, help="programs that run at once")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()

    slice = from_words(TrialSlice, args.slice)
    slice = slice.model_copy(update={"prompt": args.prompt or slice.prompt})
    sampler = make_sampler(
        slice.sampling, str(args.model), slice.dtype, slice.device, slice.max_prompt_tokens, EngineMemory.of(args)
    )
    result = try_model(sampler, args.model, slice, args.workers)
    args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
