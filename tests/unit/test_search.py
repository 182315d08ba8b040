"""The search for short programs."""

import numpy as np
import pytest

from arc_precision.language.programs import run_program, solves
from arc_precision.language.search import one_step_programs, shortest_program
from arc_precision.tasks.grids import Pair, Task


def _task(program, seed=0, pairs=4):
    rng = np.random.default_rng(seed)
    inputs = [rng.choice([0, 0, 2, 3, 5], (5 + i, 7)).astype(np.int8) for i in range(pairs)]
    made = tuple(Pair(grid, run_program(program, grid)) for grid in inputs)
    return Task("made", made[:-1], made[-1:])


@pytest.mark.parametrize(
    "program",
    [
        (("rot90", ()),),
        (("recolor", (3, 8)),),
        (("swap_colors", (2, 5)),),
        (("recolor", (0, 4)), ("mirror_down", ())),
        (("gravity_down", ()), ("remove_color", (2,))),
    ],
)
def test_finds_a_program_of_the_same_length(program):
    task = _task(program)
    found = shortest_program(task)
    assert len(found) == len(program) and solves(found, task.pairs)


def test_one_step_programs_are_all_found():
    task = _task((("transpose", ()),))
    square = Task("square", tuple(Pair(p.input[:5, :5], p.input[:5, :5].T) for p in task.train), ())
    assert list(one_step_programs(square.train)) == [(("transpose", ()),)]


def test_the_number_of_steps_is_a_limit():
    task = _task((("recolor", (0, 4)), ("mirror_down", ())))
    assert shortest_program(task, max_steps=1) is None


def test_the_test_pairs_count():
    task = _task((("rot90", ()),))
    wrong = Task("wrong", task.train, (Pair(task.test[0].input, task.test[0].input),))
    assert shortest_program(wrong) is None


def test_noise_is_not_explained():
    rng = np.random.default_rng(1)
    pairs = tuple(Pair(*rng.integers(0, 4, (2, 5, 5)).astype(np.int8)) for _ in range(3))
    assert shortest_program(Task("noise", pairs[:2], pairs[2:])) is None
