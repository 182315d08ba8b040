"""Checks and stretches of per-step series."""

import numpy as np


def checked(step: np.ndarray, **series: np.ndarray) -> list[np.ndarray]:
    """The steps, then every series as float64 with NaN for null, all of shape (steps,).

    Raises ValueError if steps are not consecutive or a series has another length.
    """
    step = np.asarray(step)
    if (np.diff(step) != 1).any():
        raise ValueError("step: the series must have one row per optimizer step, in order and without gaps.")
    arrays = [step]
    for name, values in series.items():
        values = np.asarray(values, dtype=np.float64)
        if values.shape != step.shape:
            raise ValueError(f"{name}: {values.shape[0]} values for {len(step)} steps; give one per step.")
        arrays.append(values)
    return arrays


def stretches(condition: np.ndarray, length: int) -> np.ndarray:
    """Per stretch of steps on which the condition holds, the index of its `length`-th step; none for shorter ones."""
    index = np.arange(len(condition))
    last_break = np.maximum.accumulate(np.where(condition, -1, index))
    return np.flatnonzero(index - last_break == length)


def first_stretch(condition: np.ndarray, length: int) -> int | None:
    """Index of the last step of the first `length` steps in a row on which the condition holds."""
    full = stretches(condition, length)
    return int(full[0]) if full.size else None
