"""steps-<stop>.jsonl, timing-<stop>.jsonl and completions-<stop>.jsonl: one row per optimizer step of a segment.

The segment is the one that ends at step `stop`.

Every key of `STEP` is in every row, and so is every key of `arc_precision.mismatch.metrics.mismatch_metrics` with
`mismatch/` before it. A value that was not computed is null; a value that is not finite is null and counted.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from arc_precision.contracts.whole import read_object, read_steps

SCHEMA_VERSION = 2  # of 1 are files of 0.1, with clamped effective sample sizes, and of 0.2, with other names in facts

STEP = {
    "schema_version": "Version of this contract.",
    "step": "Optimizer step, from 1.",
    "applied_steps": "Steps whose update was applied: step minus the skipped ones so far.",
    "loss": "Loss, mean over the passes of the step.",
    "learning_rate": "Learning rate of this step.",
    "reward_mean": "Mean reward of the completions.",
    "reward_std": "Standard deviation of the rewards over all completions.",
    "frac_reward_zero_std": "Share of groups whose rewards are all equal, whatever the rewards are scaled by.",
    "solved_share": "Share of completions whose program is right on every grid.",
    "valid_share": "Share of completions whose program ran and gave valid grids.",
    "completion_tokens_mean": "Mean length of the completions, in tokens.",
    "completion_tokens_max": "Longest completion, in tokens.",
    "truncated_share": "Share of completions cut at max_completion_tokens.",
    "unique_token_share": "Distinct tokens over tokens, mean over completions; low when a completion repeats itself.",
    "grad_norm": "Norm of the gradient before clipping, after unscaling; null where it is not finite.",
    "kl_base": "k3 estimate of the KL to the base model, per token, in nats; null with beta 0 or if no token counts.",
    "entropy": "Mean entropy of the policy at the sampled positions, in nats; null if no token counts.",
    "clip_ratio": "Share of tokens whose policy ratio was clipped; null if no token counts or the loss does not clip.",
    "loss_scale": "float16's loss scale; null in other dtypes.",
    "skipped": "True when the update was skipped because of an overflow.",
    "nonfinite": "True when loss or gradient norm is not finite.",
    "verdicts": "Counts of the sandbox's verdicts.",
    "reused_share": "Share of completions whose program did not run: an equal one ran in their batch, on equal inputs.",
    "lora_b_median_abs": "Median of |B| over the adapter's non-zero B entries.",
    "lora_b_subnormal_share": "Share of non-zero B entries below float16's smallest normal number, 6.1e-5.",
}

TIMING = {
    "schema_version": "Version of this contract.",
    "step": "Optimizer step.",
    "step_s": "Wall time of the whole step.",
    "generate_s": "Drawing completions.",
    "sync_s": "Handing the adapter to the sampler.",
    "reward_s": "Running programs.",
    "logps_s": "Forward passes outside the loss: reference, and old policy with the correction on.",
    "loss_s": "Forward pass of the policy and the loss.",
    "backward_s": "Backward pass.",
    "other_s": "The rest: optimizer, logging.",
    "prompt_tokens": "Tokens of the step's prompts, each prompt counted once per completion.",
    "completion_tokens": "Tokens of the step's completions.",
    "peak_gpu_memory_mb": "Most GPU memory that PyTorch held so far; null on a CPU.",
}

COMPLETIONS = {
    "schema_version": "Version of this contract.",
    "step": "Optimizer step.",
    "completions": "A few of those that the step's loss was the first to see, objects with the keys of `COMPLETION`.",
}

COMPLETION = {
    "row_id": "Row of the task file.",
    "text": "Its text, special tokens left out.",
    "reward": "Its reward.",
    "verdict": "What the sandbox said of its program.",
    "tokens": "Its length, the end token included.",
    "truncated": "Cut at max_completion_tokens.",
    "sampler_logp_mean": "Mean over its tokens of the sampler's log-probability, in nats.",
    "log_ratio": "D, its log-ratio of trainer to sampler over the tokens that count, in nats; null if none does.",
}

FACTS = {
    "schema_version": "Version of this contract.",
    "status": "running, or collapsed or failed: the run has stopped.",
    "stopped_at": "Step at which it stopped, or null.",
    "asked": "The dtypes that were asked for.",
    "observed": "What was in effect when the segment began.",
    "config": "The slice of the arm.",
    "declared": "Primary outcome and collapse rule.",
}
"""facts-<stop>.json: one object per segment. The keys that provenance adds are not listed here."""


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a segment.

    Raises:
        DamagedFile: they are not whole.
    """
    return read_object(path, SCHEMA_VERSION, FACTS)


def read_run(
    files: Iterable[Path], facts: Iterable[Path], keys: dict[str, str], running: bool = False
) -> list[dict[str, Any]]:
    """The rows of a run's segments, one after another.

    A segment has a row for each of its steps, up to the one at which the run stopped. A segment without facts has not
    ended.

    Args:
        files: of its segments, in order, all of one kind.
        facts: facts-<stop>.json of those that have them.
        keys: STEP, TIMING or COMPLETIONS.
        running: whether jobs may be writing.

    Raises:
        DamagedFile: a file lacks rows, or has others.
    """
    ended = {_stop(path): path for path in facts}
    rows: list[dict[str, Any]] = []
    for path in files:
        stop, start = _stop(path), rows[-1]["step"] if rows else 0
        steps = None
        if stop in ended or not running:
            stopped_at = read_facts(ended[stop])["stopped_at"] if stop in ended else None
            steps = range(start + 1, min(stop, stopped_at or stop) + 1)
        rows += read_steps(path, SCHEMA_VERSION, keys, steps)
    return rows


def _stop(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
