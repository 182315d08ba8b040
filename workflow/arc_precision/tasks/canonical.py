"""One key for a task in all its disguises.

Two tasks get the same key exactly when one becomes the other by one of the 8 symmetries of the square (applied to every
grid), a permutation of the 10 colours (applied to every grid), another order of the pairs, pairs moved between train
and test, and pairs repeated.

The key is the SHA-256 of the least text of the task over a few candidate symmetries and orders of its colours. A text
spells a disguise of the task in full, so different tasks never share one. Trying all 10! x 8 disguises would take too
long. Candidates are chosen by numbers that describe the places of colours and are the same in every disguise. So two
disguises of one task have the same candidate texts, and the same least one:

- Colours are ordered by a signature that no symmetry changes: for each grid, the sum of weights of the cells that have
  the colour, where cells that a symmetry exchanges weigh the same. Colours that this cannot tell apart are told apart
  in every possible way, as in canonical labelling of graphs: one is singled out, the others are refined by it, and all
  the choices are candidates.
- Symmetries are compared by first moments of the grids in these colours, which a flip negates and a transposition
  exchanges. All that share the least hash are candidates.

Signatures and hashes may collide; then there are more candidates, and the key is the same.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from arc_precision.tasks.grids import N_COLORS, Grid, Pair, Task

BATCH_TASKS = 16
"""Tasks that are processed at once: enough to outweigh numpy's cost per call, few enough for a cache."""


def canonical_key(task: Task) -> str:
    """SHA-256, in hexadecimal, of the task in canonical form."""
    return canonical_keys([task])[0]


def canonical_keys(tasks: Sequence[Task]) -> list[str]:
    """`canonical_key` of each task, many times faster per task."""
    starts = range(0, len(tasks), BATCH_TASKS)
    return [key for start in starts for key in _batch_keys(tasks[start : start + BATCH_TASKS])]


def _batch_keys(tasks: Sequence[Task]) -> list[str]:
    batch = _Batch([_distinct(task.pairs) for task in tasks])
    names = batch.refined(np.zeros((len(tasks), N_COLORS), dtype=np.uint64))
    texts = batch.texts(batch.orders(names))
    for index in batch.tied(names):
        pairs = batch.pairs_of_task[index]
        orders = list(_all_orders(_Batch([pairs]), names[index : index + 1]))
        texts[index] = min(_Batch([pairs] * len(orders)).texts(np.array(orders)))
    return [hashlib.sha256(text).hexdigest() for text in texts]


def _distinct(pairs: Sequence[Pair]) -> list[Pair]:
    return list({(p.input.shape, p.input.tobytes(), p.output.shape, p.output.tobytes()): p for p in pairs}.values())


class _Batch:
    """Tasks as flat arrays: all cells of all grids in a row, and which grid, pair and task they belong to."""

    def __init__(self, pairs_of_task: list[list[Pair]]):
        self.pairs_of_task = pairs_of_task
        self.grids = [grid for pairs in pairs_of_task for pair in pairs for grid in (pair.input, pair.output)]
        n_pairs = [len(pairs) for pairs in pairs_of_task]
        self.first_pair = np.cumsum([0, *n_pairs])[:-1]
        self.pair_task = np.repeat(np.arange(len(n_pairs)), n_pairs)
        self.grid_task = np.repeat(self.pair_task, 2).tolist()
        sizes = [grid.size for grid in self.grids]
        self.first_cell = np.cumsum([0, *sizes])[:-1]
        cells = np.frombuffer(b"".join([grid.tobytes() for grid in self.grids]), dtype=np.uint8)
        weights = np.concatenate([_cell_weights(*grid.shape) for grid in self.grids])
        slots = np.repeat(np.arange(len(self.grids)) * N_COLORS, sizes) + cells
        sums = np.bincount(slots, weights, minlength=N_COLORS * len(self.grids))
        sums = sums.astype(np.uint64).reshape(-1, 2, N_COLORS)
        self.signatures = _mix(sums[:, 0]) + np.uint64(3) * _mix(sums[:, 1])
        """For each pair and colour, a hash of the colour's places in the pair: uint64 (pairs, 10)."""
        self.present = np.add.reduceat(sums.any(axis=1), self.first_pair) > 0
        """Colours that a task uses: bool (tasks, 10)."""

    def refined(self, names: np.ndarray) -> np.ndarray:
        """Refined names, which also depend on the pairs of a colour and on the other names there; equal names may
        separate.

        Args:
            names: A number per task and colour, uint64 (tasks, 10).
        """
        for _ in range(2):
            pair_names = _mix(self.signatures + names[self.pair_task]).sum(axis=1, keepdims=True)
            colors = _mix(self.signatures ^ _mix(pair_names))
            names = _mix(names + _mix(np.add.reduceat(colors, self.first_pair)))
        return names

    def orders(self, names: np.ndarray) -> np.ndarray:
        """For each task the rank of each colour by name, colours in use first: uint8 (tasks, 10)."""
        order = np.lexsort((names, ~self.present))
        ranks = np.empty_like(order, dtype=np.uint8)
        np.put_along_axis(ranks, order, np.arange(N_COLORS, dtype=np.uint8)[None], axis=1)
        return ranks

    def tied(self, names: np.ndarray) -> np.ndarray:
        """Tasks in which two colours in use have the same name."""
        distinct = np.where(self.present, names, np.arange(N_COLORS, dtype=np.uint64))
        distinct.sort(axis=1)
        return np.flatnonzero((distinct[:, 1:] == distinct[:, :-1]).any(axis=1))

    def texts(self, ranks: np.ndarray) -> list[bytes]:
        """The least text of each task over its candidate symmetries, colours written as ranks (tasks, 10)."""
        tables = [row.tobytes().ljust(256, b"\0") for row in ranks]
        cells = [grid.tobytes().translate(tables[task]) for grid, task in zip(self.grids, self.grid_task, strict=True)]
        labels = np.frombuffer(b"".join(cells), dtype=np.uint8)
        labelled = [labels[a : a + g.size].reshape(g.shape) for a, g in zip(self.first_cell, self.grids, strict=True)]
        candidates = self._symmetry_candidates(labels)
        texts = []
        for first, pairs, symmetries in zip(self.first_pair, self.pairs_of_task, candidates, strict=True):
            grids = labelled[2 * first : 2 * (first + len(pairs))]
            texts.append(min(_text(grids, symmetry) for symmetry in np.flatnonzero(symmetries)))
        return texts

    def _symmetry_candidates(self, labels: np.ndarray) -> np.ndarray:
        """Symmetries with the least hash of moments: bool (tasks, 8)."""
        offsets = np.concatenate([_centred(*grid.shape) for grid in self.grids], axis=1)
        moments = np.add.reduceat(_color_weights().take(labels) * offsets, self.first_cell, axis=1)
        down, right = moments.astype(np.int64)
        height, width = np.array([grid.shape for grid in self.grids]).T
        hashes = np.empty((len(self.pairs_of_task), 8), dtype=np.uint64)
        for symmetry in range(8):
            transposed, flip_rows, flip_columns = symmetry & 4, symmetry & 2, symmetry & 1
            rows, columns, tall, wide = (right, down, width, height) if transposed else (down, right, height, width)
            rows, columns = -rows if flip_rows else rows, -columns if flip_columns else columns
            grid_hashes = _mix(_mix(rows.astype(np.uint64)) + columns.astype(np.uint64))
            grid_hashes = _mix(grid_hashes + (32 * tall + wide).astype(np.uint64)).reshape(-1, 2)
            pair_hashes = _mix(grid_hashes[:, 0] + np.uint64(3) * grid_hashes[:, 1])
            hashes[:, symmetry] = np.add.reduceat(pair_hashes, self.first_pair)
        return hashes == hashes.min(axis=1, keepdims=True)


def _all_orders(one: _Batch, names: np.ndarray) -> Iterator[np.ndarray]:
    """Candidate orders of the colours of a single task in which names (1, 10) leave ties."""
    if not len(one.tied(names)):
        yield one.orders(names)[0]
        return
    colors = np.flatnonzero(one.present[0])
    values, counts = np.unique(names[0, colors], return_counts=True)
    tried: list[int] = []
    for color in colors[names[0, colors] == values[counts > 1][0]]:
        # If swapping two colours changes nothing, singling out either of them gives the same texts.
        if not any(_swappable(one.pairs_of_task[0], color, other) for other in tried):
            singled = names.copy()
            singled[0, color : color + 1] = _mix(singled[0, color : color + 1])
            yield from _all_orders(one, one.refined(singled))
        tried.append(color)


def _swappable(pairs: list[Pair], one: int, other: int) -> bool:
    """Whether exchanging two colours maps the set of pairs to itself."""
    swap = np.arange(N_COLORS, dtype=np.int8)
    swap[[one, other]] = other, one
    return len(_distinct(pairs + [Pair(swap[pair.input], swap[pair.output]) for pair in pairs])) == len(pairs)


def _text(grids: list[Grid], symmetry: int) -> bytes:
    """Shapes and cells of a task in one symmetry, pairs sorted."""
    spelled = [_spell(grid, symmetry) for grid in grids]
    return b"".join(sorted([i + o for i, o in zip(spelled[::2], spelled[1::2], strict=True)]))


def _spell(grid: Grid, symmetry: int) -> bytes:
    turned = grid.T if symmetry & 4 else grid
    turned = turned[:: -1 if symmetry & 2 else 1, :: -1 if symmetry & 1 else 1]
    return bytes(turned.shape) + turned.tobytes()


@cache
def _cell_weights(height: int, width: int) -> np.ndarray:
    """A random weight per cell, the same for cells that a symmetry exchanges; float64 of shape (height * width,).

    40 bits, so that sums over 900 cells are exact.
    """
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 32 * n for n in (height, width))
    mixed = _mix(_mix(rows.astype(np.uint64))[:, None] + _mix(columns.astype(np.uint64))[None, :])
    return (1 + (mixed >> np.uint64(64 - 40))).astype(np.float64).ravel()


@cache
def _centred(height: int, width: int) -> np.ndarray:
    """Row and column of each cell in half steps from the middle; int32 of shape (2, height * width)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([2 * rows - (height - 1), 2 * columns - (width - 1)]).reshape(2, -1).astype(np.int32)


@cache
def _color_weights() -> np.ndarray:
    """A random weight for each rank of a colour, so small that moments of 900 cells fit into 32 bits; int32 (10,)."""
    return (_mix(np.arange(N_COLORS, dtype=np.uint64)) >> np.uint64(64 - 15)).astype(np.int32)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): a bijection of 64-bit words without pattern."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
