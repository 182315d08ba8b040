"""Rewards of programs: pure functions of a verdict and the task's answers."""

from collections.abc import Sequence

import numpy as np

from arc_precision.sandbox import Verdict
from arc_precision.tasks.grids import Grid, Task


def pixel_score(predicted: Grid, answer: Grid) -> float:
    """The share of the answer that a predicted grid has right, 0 to 1; 1 only if both are equal.

    For grids of one shape it is the share of equal cells. For others it is the largest number of equal cells over
    all places at which one can be laid on the other, divided by the product of the larger height and the larger
    width. This is the pixel score of the arc25 notebooks (`arc25/metrics.py` of github.com/ironbar/arc25).
    """
    if predicted.shape == answer.shape:
        return float(np.mean(predicted == answer))
    small, large = sorted((predicted, answer), key=np.size)
    overhang = [(side - 1, side - 1) for side in small.shape]
    places = np.lib.stride_tricks.sliding_window_view(np.pad(large, overhang, constant_values=-1), small.shape)
    matches = np.count_nonzero(places == small, axis=(2, 3)).max()
    return float(matches / np.maximum(small.shape, large.shape).prod())


def grid_scores(outputs: Sequence[Grid], answers: Sequence[Grid]) -> tuple[list[bool], list[float]]:
    """Per grid, whether the output equals the answer, and its pixel score.

    Raises ValueError if the numbers of outputs and answers differ.
    """
    pixels = [pixel_score(output, answer) for output, answer in zip(outputs, answers, strict=True)]
    return [score == 1.0 for score in pixels], pixels


def solved(verdict: Verdict, task: Task) -> bool:
    """Whether the program got every train and test grid right."""
    if verdict.status != "ok":
        return False
    return all(np.array_equal(output, pair.output) for output, pair in zip(verdict.outputs, task.pairs, strict=True))


# Weights of the share of right grids and of the mean pixel score in each reward. They add up to 9, so that only a
# solved task has the reward 10.
_WEIGHTS = {"arc-v1": (8, 1), "arc-v2-no-pixel-score": (9, 0)}


def reward(name: str, verdict: Verdict, task: Task) -> float:
    """Reward of one program, 0 to 10: by the named formula if it ran on every grid, else 0.

    Args:
        name: "arc-v1" or "arc-v2-no-pixel-score", the rewards of the arc25 notebooks. With C the share of right grids
            and P the mean pixel score over train and test pairs, they are 1 + 8 C + P and 1 + 9 C.
        verdict: of the program on the inputs of `task.pairs`, in that order.

    Raises:
        ValueError: the name is unknown, or the verdict is `sandbox_error`, which says nothing about the program.
    """
    if name not in _WEIGHTS:
        raise ValueError(f"reward is {name!r}; it must be one of {', '.join(_WEIGHTS)}")
    if verdict.status == "sandbox_error":
        raise ValueError("a program whose verdict is sandbox_error has no reward: the sandbox failed, not the program")
    if verdict.status != "ok":
        return 0.0
    correct, pixels = grid_scores(verdict.outputs, [pair.output for pair in task.pairs])
    correct_weight, pixel_weight = _WEIGHTS[name]
    return 1 + correct_weight * sum(correct) / len(correct) + pixel_weight * sum(pixels) / len(pixels)
