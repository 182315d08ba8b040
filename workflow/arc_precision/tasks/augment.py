"""Augmentation: a task mirrored, turned, in other colours, its pairs in another order; and its inverse."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arc_precision.tasks.grids import N_COLORS, Grid, Pair, Task

FLIP_PROBABILITY = 0.5
PERMUTE_BACKGROUND_PROBABILITY = 0.1


@dataclass(frozen=True)
class Augmentation:
    """Changes to every grid of a task, in the order of the fields, and to the order of its train pairs."""

    flip: bool
    """Mirror left and right."""
    quarter_turns: int
    """Then turn counter-clockwise, 0 to 3 times."""
    colors: tuple[int, ...]
    """Then give each cell a new colour: `colors[old]`."""
    order: tuple[int, ...]
    """Train pair `order[i]` becomes the i-th."""

    def apply(self, grid: Grid) -> Grid:
        """The augmented grid."""
        return _recolored(_turned(grid[:, ::-1] if self.flip else grid, self.quarter_turns), self.colors)

    def invert(self, grid: Grid) -> Grid:
        """The grid from which `apply` makes this one."""
        turned = _turned(_recolored(grid, np.argsort(self.colors).tolist()), -self.quarter_turns % 4)
        return turned[:, ::-1] if self.flip else turned

    def apply_to_task(self, task: Task) -> Task:
        """The task with every grid augmented and its train pairs in the new order."""
        train = tuple(self._pair(task.train[i]) for i in self.order)
        return Task(task.task_id, train, tuple(self._pair(pair) for pair in task.test))

    def _pair(self, pair: Pair) -> Pair:
        return Pair(self.apply(pair.input), self.apply(pair.output))

    def to_json(self) -> str:
        """The augmentation as recorded beside a row."""
        return json.dumps(vars(self))


def _turned(grid: Grid, quarter_turns: int) -> Grid:
    """`numpy.rot90`, several times faster on grids this small."""
    turned = grid.T if quarter_turns % 2 else grid
    return turned[:: -1 if quarter_turns in (1, 2) else 1, :: -1 if quarter_turns in (2, 3) else 1]


def _recolored(grid: Grid, colors: Sequence[int]) -> Grid:
    """Each cell c as `colors[c]`; read-only."""
    table = bytes(colors).ljust(256, b"\0")
    return np.frombuffer(grid.tobytes().translate(table), dtype=np.int8).reshape(grid.shape)


def row_rng(seed: int, source: str, task_id: str, k: int) -> np.random.Generator:
    """The random numbers of one row: a stream of its own that does not depend on other rows or on processes.

    Args:
        seed: Seed of the data.
        source: Name of the task's source.
        task_id: Name of the task in it.
        k: Number of the augmentation of that task.
    """
    key = hashlib.blake2b(json.dumps([seed, source, task_id, k]).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big")))


def draw_augmentation(rng: np.random.Generator, n_train: int) -> Augmentation:
    """A random augmentation of a task with `n_train` train pairs.

    A flip with probability 0.5, a uniform number of quarter turns, and a permutation of the colours that leaves 0 as it
    is, nine times in ten; a uniform order of the pairs.
    """
    flip = bool(rng.random() < FLIP_PROBABILITY)
    quarter_turns = int(rng.integers(4))
    if rng.random() < PERMUTE_BACKGROUND_PROBABILITY:
        colors = rng.permutation(N_COLORS)
    else:
        colors = np.concatenate([[0], 1 + rng.permutation(N_COLORS - 1)])
    return Augmentation(flip, quarter_turns, tuple(colors.tolist()), tuple(rng.permutation(n_train).tolist()))
