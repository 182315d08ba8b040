"""Augmentation: a task seen in a mirror, turned, in other colours, its examples in another order; and back again."""

import json
import zlib
from dataclasses import asdict, dataclass

import numpy as np

from arc_precision.tasks.grids import N_COLORS, Grid, Pair, Task

FLIP_PROBABILITY = 0.5
PERMUTE_BACKGROUND_PROBABILITY = 0.1


@dataclass(frozen=True)
class Augmentation:
    """What is done to every grid of a task, in the order of the fields, and to the order of its train pairs."""

    flip: bool
    """Mirror left and right."""
    quarter_turns: int
    """Then turn counter-clockwise, 0 to 3 times."""
    colors: tuple[int, ...]
    """Then give each cell a new colour: `colors[old]`."""
    order: tuple[int, ...]
    """Train pair `order[i]` comes i-th."""

    def apply(self, grid: Grid) -> Grid:
        """The augmented grid."""
        turned = np.rot90(np.fliplr(grid) if self.flip else grid, self.quarter_turns)
        return np.array(self.colors, dtype=np.int8)[turned]

    def invert(self, grid: Grid) -> Grid:
        """The grid that `apply` makes into this one."""
        turned = np.rot90(np.argsort(self.colors).astype(np.int8)[grid], -self.quarter_turns)
        return np.fliplr(turned) if self.flip else turned

    def apply_to_task(self, task: Task) -> Task:
        """The task with every grid augmented and its train pairs in the new order."""
        train = tuple(self._pair(task.train[i]) for i in self.order)
        return Task(task.task_id, train, tuple(self._pair(pair) for pair in task.test))

    def _pair(self, pair: Pair) -> Pair:
        return Pair(self.apply(pair.input), self.apply(pair.output))

    def to_json(self) -> str:
        """As recorded beside a row."""
        return json.dumps(asdict(self))


def row_rng(seed: int, source: str, index: int, k: int) -> np.random.Generator:
    """The random numbers of one row: its own stream, so that rows can be made in any order and any grouping.

    Args:
        seed: Seed of the data.
        source: Name of the task's source.
        index: Place of the task in its source.
        k: Number of the augmentation of that task.
    """
    return np.random.default_rng((seed, zlib.crc32(source.encode()), index, k))


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
