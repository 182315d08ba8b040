"""samples/**/*.json: the time that sampling took, in a file apart, so that the completions do not depend on it."""

import json
from pathlib import Path

from arc_precision.contracts.whole import read_object

COST_SCHEMA_VERSION = 1
COST = {
    "schema_version": "Version of this layout.",
    "generation_s": "Seconds from the first prompt to the last completion; the engine's start is not counted.",
    "tasks": "Tasks sampled.",
    "completions": "Completions drawn, all tasks together.",
    "prompt_tokens": "Tokens of the prompts, each counted once for every completion.",
}


def write_cost(path: Path, generation_s: float, prompt_tokens: list[int], n_samples: int) -> None:
    """Write the cost of drawing `n_samples` completions for each prompt."""
    tasks = len(prompt_tokens)
    values = (COST_SCHEMA_VERSION, generation_s, tasks, tasks * n_samples, sum(prompt_tokens) * n_samples)
    path.write_text(json.dumps(dict(zip(COST, values, strict=True)), indent=2) + "\n")


def seconds_per_task(path: Path) -> float:
    """Seconds of generation divided by tasks.

    Raises:
        DamagedFile: the file is not as it was written.
    """
    cost = read_object(path, COST_SCHEMA_VERSION, COST)
    return cost["generation_s"] / cost["tasks"]
