"""One name for a task in all its disguises.

Two tasks get the same key exactly when one becomes the other by one of the 8 symmetries of the square (applied to every
grid), a permutation of the 10 colours (applied to every grid), another order of the pairs, pairs moved between train
and test, and pairs repeated.

The key is the SHA-256 of the least text among those that the task takes over the 8 symmetries and a set of colour
orders. Since each text spells a disguise of the task, different tasks never share one. Trying all 10! colour orders is
out of the question, so colours are ordered by what neither symmetry nor naming changes: where they stand in the grids.
Colours that this cannot tell apart are told apart in every possible way, as in canonical labelling of graphs: one of
them is singled out, the rest is refined, and the least text of all the choices is taken. Signatures are hashes; were
two of them to collide, there would be more choices to try and the same key for the same task.
"""

import hashlib
from collections.abc import Iterator
from functools import cache

import numpy as np

from arc_precision.tasks.grids import N_COLORS, Grid, Task

_WEIGHT_BITS = 40  # sums over 900 cells stay exact in float64


def canonical_key(task: Task) -> str:
    """SHA-256, in hexadecimal, of the task in canonical form."""
    # As a set: (shape, cells) tells whether two pairs are the same.
    distinct = {(p.input.shape, p.input.tobytes(), p.output.shape, p.output.tobytes()): p for p in task.pairs}
    grids = [grid for pair in distinct.values() for grid in (pair.input, pair.output)]
    texts = [text for order in _color_orders(grids) for text in _texts(grids, order)]
    return hashlib.sha256(min(texts)).hexdigest()


def _texts(grids: list[Grid], order: list[int]) -> Iterator[bytes]:
    """The task in each of the 8 symmetries, colour `order[i]` written as i, pairs sorted."""
    labels = np.zeros(N_COLORS, dtype=np.uint8)
    labels[order] = np.arange(len(order))
    spelled = [_symmetries(labels[grid]) for grid in grids]
    for symmetry in range(8):
        forms = [grid[symmetry] for grid in spelled]
        yield b"".join(sorted(i + o for i, o in zip(forms[::2], forms[1::2], strict=True)))


def _symmetries(grid: np.ndarray) -> list[bytes]:
    """Shape and cells of a grid in each of the 8 symmetries."""
    height, width = grid.shape
    upright, lying = bytes((height, width)), bytes((width, height))
    turned = grid.T
    return [
        upright + grid.tobytes(),
        upright + grid[::-1].tobytes(),
        upright + grid[:, ::-1].tobytes(),
        upright + grid[::-1, ::-1].tobytes(),
        lying + turned.tobytes(),
        lying + turned[::-1].tobytes(),
        lying + turned[:, ::-1].tobytes(),
        lying + turned[::-1, ::-1].tobytes(),
    ]


def _color_orders(grids: list[Grid]) -> Iterator[list[int]]:
    """Orders of the colours in use: renaming colours renames them in the orders, symmetries leave the orders alone."""
    signatures = _signatures(grids)
    present = np.flatnonzero(signatures.any(axis=0))
    yield from _discrete(grids, signatures[:, present], present, np.zeros(len(present), dtype=np.uint64))


def _discrete(grids: list[Grid], signatures: np.ndarray, present: np.ndarray, names: np.ndarray) -> Iterator[list[int]]:
    """Refine `names`, one number per colour in use, until all differ; branch where they do not."""
    names = _refined(signatures, names)
    _, first, counts = np.unique(names, return_index=True, return_counts=True)
    if len(first) == len(present):
        yield present[first].tolist()
        return
    tied = np.flatnonzero(names == names[first[counts > 1][0]])
    tried: list[int] = []
    for choice in tied:
        # Where swapping two colours changes nothing, both choices give the same texts.
        if not any(_swappable(grids, present[choice], present[other]) for other in tried):
            singled = names.copy()
            singled[choice : choice + 1] = _mix(singled[choice : choice + 1])
            yield from _discrete(grids, signatures, present, singled)
        tried.append(choice)


def _swappable(grids: list[Grid], one: int, other: int) -> bool:
    """Whether exchanging two colours maps the set of pairs to itself."""
    swap = bytearray(range(N_COLORS))
    swap[one], swap[other] = other, one
    table = bytes(swap).ljust(256, b"\0")
    cells = [(grid.shape, grid.tobytes()) for grid in grids]
    swapped = [(shape, text.translate(table)) for shape, text in cells]
    return set(zip(cells[::2], cells[1::2], strict=True)) == set(zip(swapped[::2], swapped[1::2], strict=True))


def _refined(signatures: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Names that also tell in which pairs, among which other names, a colour stands; equal ones may come apart."""
    for _ in range(2):
        pair_names = _mix(signatures + names).sum(axis=1, keepdims=True)
        names = _mix(names + _mix(signatures ^ _mix(pair_names)).sum(axis=0))
    return names


def _signatures(grids: list[Grid]) -> np.ndarray:
    """For each pair and colour a number that no symmetry changes: a hash of where the colour stands; 0 for nowhere.

    Returns:
        uint64 of shape (pairs, 10).
    """
    cells = np.concatenate([(grid + N_COLORS * np.int16(i)).ravel() for i, grid in enumerate(grids)])
    weights = np.concatenate([_cell_weights(*grid.shape) for grid in grids])
    sums = np.bincount(cells, weights=weights, minlength=N_COLORS * len(grids))
    sums = sums.astype(np.uint64).reshape(-1, 2, N_COLORS)
    return np.where(sums.any(axis=1), _mix(sums[:, 0]) + np.uint64(3) * _mix(sums[:, 1]), np.uint64(0))


@cache
def _cell_weights(height: int, width: int) -> np.ndarray:
    """A random weight per cell, the same for cells that a symmetry exchanges; float64 of shape (height * width,)."""
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) + np.uint64(32 * n) for n in (height, width))
    mixed = _mix(_mix(rows.astype(np.uint64))[:, None] + _mix(columns.astype(np.uint64))[None, :])
    return (1 + (mixed >> np.uint64(64 - _WEIGHT_BITS))).astype(np.float64).ravel()


def _mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): a bijection of 64-bit words without pattern."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
