"""Generated tasks: reproducible, consistent, and not explained by a part of their program."""

from itertools import islice

import numpy as np
import pytest

from arc_precision.language.dsl import PRIMITIVES
from arc_precision.language.programs import COLOR_TYPES, parse_completion, run_program, same_grid, solves
from arc_precision.language.search import one_step_programs
from arc_precision.language.tokenizer import completion_ids
from arc_precision.tasks.generator import generate_task, generate_tasks

TASKS = list(islice(generate_tasks(seed=7), 250))


def _content(generated):
    return [(pair.input.tolist(), pair.output.tolist()) for pair in generated.task.pairs], generated.program


def test_a_task_depends_on_seed_and_index_alone():
    assert [_content(generate_task(7, i)) for i in (249, 3, 100)] == [_content(TASKS[i]) for i in (249, 3, 100)]
    assert _content(generate_task(8, 3)) != _content(TASKS[3])
    assert len({task.task.task_id for task in TASKS}) == len(TASKS)


def test_grids_are_small_int8_arrays_of_colors():
    for generated in TASKS:
        assert 2 <= len(generated.task.train) <= 3 and len(generated.task.test) == 1
        for pair in generated.task.pairs:
            for grid in (pair.input, pair.output):
                assert grid.dtype == np.int8 and grid.ndim == 2 and grid.any()
                assert 1 <= min(grid.shape) and max(grid.shape) <= 18
                assert 0 <= grid.min() and grid.max() <= 9


def test_the_program_solves_the_task_and_every_pair_shows_something():
    for generated in TASKS:
        pairs = generated.task.pairs
        assert solves(generated.program, pairs)
        assert not any(same_grid(pair.input, pair.output) for pair in pairs)
        assert len({(pair.input.shape, pair.input.tobytes()) for pair in pairs}) == len(pairs)
        assert len({(pair.output.shape, pair.output.tobytes()) for pair in pairs}) > 1


def test_nothing_shorter_does_the_same():
    for generated in TASKS:
        program, pairs = generated.program, generated.task.pairs
        if len(program) > 1:
            assert next(one_step_programs(pairs), None) is None
            for i in range(len(program)):
                assert not solves(program[:i] + program[i + 1 :], pairs)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_depths_set_the_number_of_steps(steps):
    depths = tuple(float(depth == steps) for depth in (1, 2, 3))
    assert {len(generate_task(1, i, depths).program) for i in range(12)} == {steps}


def test_every_primitive_is_used():
    used = {name for generated in TASKS for name, _ in generated.program}
    used |= {name for i in range(250, 700) for name, _ in generate_task(7, i, (1.0,)).program}
    assert used == set(PRIMITIVES)


def test_an_exchange_names_the_color_seen_first_first():
    exchanges = 0
    for generated in TASKS + [generate_task(11, i, (1.0,)) for i in range(400)]:
        seen = generated.task.train[0].input.ravel().tolist()
        for name, colors in generated.program:
            if name == "swap_colors" and set(colors) <= set(seen):
                assert seen.index(colors[0]) < seen.index(colors[1])
                exchanges += 1
    assert exchanges > 3


def test_completions_are_python_that_solves_the_task_and_can_be_read_back():
    for generated in TASKS[:60]:
        source = generated.completion.removeprefix("```python\n").removesuffix("```")
        namespace = {}
        exec(source.replace("from dsl import *", "from arc_precision.language.dsl import *"), namespace)
        for pair in generated.task.pairs:
            np.testing.assert_array_equal(namespace["transform"](pair.input), pair.output)
        assert parse_completion(generated.completion) == generated.program


def test_a_one_step_completion_takes_at_most_fifteen_tokens():
    lengths = {name: len(completion_ids(((name, (1, 2)[: len(kinds)]),))) for name, kinds in COLOR_TYPES.items()}
    assert max(lengths.values()) <= 15 and min(lengths.values()) >= 5


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "```python\n```",
        "grid = flip_h(grid)",
        "    grid = flip_h(grid, 1)\n",
        "    grid = unknown(grid)\n",
        "    x = 1\n",
    ],
)
def test_what_is_not_a_program_of_the_language_is_not_read(broken):
    head, foot = TASKS[0].completion.split("    grid = ")[0], "    return grid\n```"
    assert parse_completion(broken) is None
    assert parse_completion(head + broken + foot) is None


def test_a_step_that_does_not_apply_gives_no_grid():
    assert run_program((("rot90", ()), ("downscale_3", ())), np.zeros((4, 4), dtype=np.int8)) is None
