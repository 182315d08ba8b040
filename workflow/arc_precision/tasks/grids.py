"""Grids, pairs and tasks, and the rules a grid must follow."""

from dataclasses import dataclass

import numpy as np

MAX_SIDE = 30
N_COLORS = 10

Grid = np.ndarray  # int8, shape (height, width), sides 1 to 30, values 0 to 9


@dataclass(frozen=True)
class Pair:
    """One example: an input grid and the output grid that belongs to it."""

    input: Grid
    output: Grid


@dataclass(frozen=True)
class Task:
    """An ARC task: pairs that show the rule (`train`) and pairs that test it (`test`)."""

    task_id: str
    train: tuple[Pair, ...]
    test: tuple[Pair, ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs, train first."""
        return self.train + self.test
