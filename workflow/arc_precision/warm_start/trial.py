"""A model's score on new tasks, through the sampler and the sandbox of training."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import AutoTokenizer

from arc_precision.config.warm_start import TrialSlice
from arc_precision.evaluation.drawing import draw
from arc_precision.evaluation.scoring import score_rows
from arc_precision.evaluation.task_metrics import per_task
from arc_precision.prompts import WritePrompt, prompt_writer
from arc_precision.sampling.engines import Sampler
from arc_precision.tasks.grids import Pair
from arc_precision.tasks.sources import load_source


def try_model(sampler: Sampler, model: Path, slice: TrialSlice, workers: int) -> dict[str, Any]:
    """Draw and score completions for the trial's tasks, and count the solved ones.

    Args:
        sampler: Over the model in `model`.
        model: Its folder, for the tokenizer.
        slice: The settings behind the result.
        workers: Programs that run at once.

    Raises:
        ValueError: no prompt is short enough.
        SandboxFault: the sandbox itself failed.
    """
    rows = _rows(slice, prompt_writer(slice.prompt, AutoTokenizer.from_pretrained(model), slice.max_prompt_tokens))
    samples = [row for batch in draw(sampler, model, rows, slice.trial.n_samples, slice.trial.seed) for row in batch]
    by_id = {row["row_id"]: row for row in rows}
    scores = pd.DataFrame(score_rows(by_id, samples, "arc-v2-no-pixel-score", slice.sandbox, workers))
    tasks = per_task(scores)
    sometimes = (tasks["solved"] > 0) & (tasks["solved"] < tasks["n"])
    return {
        "tasks": len(tasks),
        "prompt_too_long": slice.trial.source.n_tasks - len(rows),
        "n_samples": slice.trial.n_samples,
        "solved_share": float(tasks["pass@1"].mean()),
        "solved_share_standard_error": float(tasks["pass@1"].std() / np.sqrt(len(tasks))),
        "solved_sometimes_share": float(sometimes.mean()),
        "valid_share": float(tasks["valid_share"].mean()),
        "truncated_share": float(tasks["truncated_share"].mean()),
        "completion_tokens_mean": float(tasks["completion_tokens"].mean()),
    }


def _rows(slice: TrialSlice, write_prompt: WritePrompt) -> list[dict[str, Any]]:
    """Rows with the columns that drawing and scoring read."""
    rows = []
    for task in load_source(slice.trial.source):
        prompt, n_tokens = write_prompt(task, 0)
        if n_tokens <= slice.max_prompt_tokens:
            pairs = {"train": _pairs(task.train), "test": _pairs(task.test)}
            name = {"row_id": task.task_id, "task_id": task.task_id}
            rows.append({**name, **pairs, "prompt": prompt, "seen_in_training": False})
    if not rows:
        raise ValueError(
            f"warm_start.max_prompt_tokens: {slice.max_prompt_tokens} is less than every prompt of trial.source has; "
            "write more"
        )
    return rows


def _pairs(pairs: tuple[Pair, ...]) -> list[dict[str, Any]]:
    return [{"input": pair.input, "output": pair.output} for pair in pairs]
