"""The seconds of a step, from a run's own `timing-*.jsonl`."""

import json
import statistics
from pathlib import Path


def summary(timing: Path, completions: int, warm_up_steps: int) -> dict:
    """Over the steps after those that warm up: completions a second, tokens of each step's mean prompt, mean seconds.

    `completions` are those of one step.
    """
    steps = [json.loads(line) for line in timing.read_text().splitlines()][warm_up_steps:]
    seconds = {key: statistics.mean(step[key] for step in steps) for key in steps[0] if key.endswith("_s")}
    prompt_tokens = [step["prompt_tokens"] / completions for step in steps]
    return {"completions_per_s": completions / seconds["step_s"], "prompt_tokens": prompt_tokens, **seconds}
