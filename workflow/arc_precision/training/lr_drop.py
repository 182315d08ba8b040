"""The rule by which the learning rate falls. It reads a run's measurements so far, so a run may be cut anywhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arc_precision.config.training import LrDrop

SIGNALS = {"completion_length": "completion_tokens_mean", "mismatch": "mismatch/seq_log_ratio_std"}


def count_drops(rows: Sequence[Mapping[str, Any]], rule: LrDrop) -> int:
    """The number of times that the learning rate has fallen after the steps in `rows`, which follow
    `contracts.steps.STEP`.

    The signal's level at a step is its mean over the last `window_steps` steps that have a value. The first such level
    is the reference. The rate falls when a level that shares no step with the reference is more than `rise` times as
    high; that level is the next reference.
    """
    values = [row[SIGNALS[rule.signal]] for row in rows]
    known = np.array([value for value in values if value is not None], dtype=float)
    n_drops, end = 0, rule.window_steps
    for now in range(2 * rule.window_steps, len(known) + 1):
        if now - end < rule.window_steps:
            continue
        reference, level = (known[stop - rule.window_steps : stop].mean() for stop in (end, now))
        if level > rule.rise * reference:
            n_drops, end = n_drops + 1, now
    return n_drops
