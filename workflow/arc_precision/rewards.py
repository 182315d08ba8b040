"""Rewards of programs: pure functions of a verdict and the task's answers."""

import numpy as np

from arc_precision.sandbox import Verdict
from arc_precision.tasks.grids import Task


def grid_scores(outputs, answers):
    """Correct flags and pixel scores per grid."""
    correct = [bool(np.array_equal(o, a)) for o, a in zip(outputs, answers, strict=True)]
    return correct, [float(c) for c in correct]


def solved(verdict: Verdict, task: Task) -> bool:
    """Whether one program got every train and test grid right."""
    return verdict.status == "ok" and all(grid_scores(verdict.outputs, [pair.output for pair in task.pairs])[0])


def reward(name: str, verdict: Verdict, task: Task) -> float:
    """Reward of one program."""
    if verdict.status != "ok":
        return 0.0
    correct, _ = grid_scores(verdict.outputs, [pair.output for pair in task.pairs])
    return 1 + 9 * sum(correct) / len(correct)
