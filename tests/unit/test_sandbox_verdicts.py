"""Verdicts of the sandbox on honest and on faulty programs."""

import itertools
import os

import numpy as np
import pytest

from arc_precision.sandbox import STATUSES, Limits, Sandbox, run_programs

GRID = np.arange(6, dtype=np.int8).reshape(2, 3)
GOOD = "def transform(grid):\n    return grid"


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(Limits(cpu_s=0.4, wall_s=1.0, memory_mb=256), workers=2) as sandbox:
        yield sandbox


def verdict_of(sandbox, program, grids=(GRID,)):
    [verdict] = sandbox.run([program], [grids])
    assert verdict.status in STATUSES
    assert (verdict.outputs is not None) == (verdict.status == "ok")
    return verdict


def returning(expression: str) -> str:
    return f"import numpy as np\ndef transform(grid):\n    return {expression}\n"


def test_outputs_are_one_int8_grid_per_input(sandbox):
    grids = [GRID, np.zeros((30, 30), int), np.ones((1, 1), np.uint8)]
    verdict = verdict_of(sandbox, returning("np.rot90(grid)"), grids)
    assert verdict.status == "ok"
    assert [output.dtype for output in verdict.outputs] == [np.int8] * 3
    for output, grid in zip(verdict.outputs, grids, strict=True):
        np.testing.assert_array_equal(output, np.rot90(grid))
    assert 0 < verdict.cpu_s < 0.4


def test_programs_get_integers_wide_enough_to_compute_with(sandbox):
    assert verdict_of(sandbox, returning("grid * 1000 // 1000 if grid.dtype == int else None")).status == "ok"


def test_every_input_is_a_fresh_copy(sandbox):
    grid = GRID.copy()
    verdict = verdict_of(sandbox, "def transform(grid):\n    grid += 1\n    return grid", [grid, grid])
    np.testing.assert_array_equal(verdict.outputs[0], GRID + 1)
    np.testing.assert_array_equal(verdict.outputs[1], GRID + 1)
    np.testing.assert_array_equal(grid, GRID)


def test_missing_program_is_not_run(sandbox):
    assert verdict_of(sandbox, None).status == "no_program"


@pytest.mark.parametrize(
    ("expression", "output"),
    [
        ("grid.tolist()", GRID),
        ("tuple(map(tuple, grid))", GRID),
        ("grid.astype(float) + 0.5", GRID),
        ("grid > 2", GRID > 2),
        ("grid.astype(object)", GRID),
        ("grid.astype(np.uint8).T", GRID.T),
        ("np.zeros((30, 30))", np.zeros((30, 30))),
    ],
    ids=["lists", "tuples", "floats", "booleans", "objects", "not contiguous", "largest"],
)
def test_outputs_that_stand_for_grids_are_accepted(sandbox, expression, output):
    verdict = verdict_of(sandbox, returning(expression))
    assert verdict.status == "ok", verdict
    np.testing.assert_array_equal(verdict.outputs[0], output)


@pytest.mark.parametrize(
    "expression",
    [
        "None", "[]", "[[]]", "5", "grid[0]", "grid[None]", "grid - 1", "grid + 5", "np.zeros((31, 1))",
        "np.zeros((1, 31))", "[[1, 2], [3]]", "'grid'", "[['a']]", "grid * np.nan", "np.full((2, 2), np.inf)",
        "(row for row in grid)", "{'grid': 1}", "[[10**30]]", "[[None]]", "transform", "np",
    ],
)  # fmt: skip
def test_outputs_that_are_no_grids_are_invalid(sandbox, expression):
    verdict = verdict_of(sandbox, returning(expression))
    assert verdict.status == "invalid_output", verdict
    assert verdict.message


def test_side_limit_is_the_callers():
    program = returning("np.zeros((11, 1))")
    [small], [large] = (list(run_programs([program], [[GRID]], Limits(max_side=side))) for side in (10, 11))
    assert (small.status, large.status) == ("invalid_output", "ok")


def test_one_bad_output_spoils_all(sandbox):
    program = returning("grid if grid.shape == (2, 3) else None")
    assert verdict_of(sandbox, program, [GRID, GRID]).status == "ok"
    assert verdict_of(sandbox, program, [GRID, GRID.T]).status == "invalid_output"


@pytest.mark.parametrize(
    ("program", "exception_type", "line"),
    [
        ("def transform(grid):\n    x = 1\n    return grid[5]\n", "IndexError", 3),
        ("def f(x):\n    return 1 / x\n\ndef transform(grid):\n    return f(0)\n", "ZeroDivisionError", 2),
        ("import numpy as np\ndef transform(grid):\n    return np.reshape(grid, 7)\n", "ValueError", 3),
        ("x = 1\ndef transform(grid)\n    return grid\n", "SyntaxError", 2),
        ("def transform(grid):\n    assert False, 'no'\n", "AssertionError", 2),
        ("def transform(grid):\n    return undefined\n", "NameError", 2),
        ("raise KeyError('at import')\n", "KeyError", 1),
        ("x = 1\n", "NameError", None),
        ("transform = 5\n", "TypeError", None),
        ("def transform():\n    pass\n", "TypeError", None),
        ("def transform(grid):\n    raise SystemExit(0)\n", "SystemExit", 2),
        ("def transform(grid):\n    raise KeyboardInterrupt\n", "KeyboardInterrupt", 2),
        ("class Odd(BaseException):\n    pass\ndef transform(grid):\n    raise Odd('x')\n", "Odd", 4),
        ("import torch\n", "ModuleNotFoundError", 1),
        ("def transform(grid):\n    return input()\n", "EOFError", 2),
        ("def transform(grid):\n    return transform(grid)\n", "RecursionError", 2),
    ],
)
def test_exceptions_come_with_type_and_line(sandbox, program, exception_type, line):
    verdict = verdict_of(sandbox, program)
    assert (verdict.status, verdict.exception_type, verdict.exception_line) == ("exception", exception_type, line)


def test_libraries_of_programs_can_be_imported(sandbox):
    program = """
from common import *
import common
from dsl import *
import dsl
import numpy as np, math, itertools, functools, collections, random, heapq, copy, re, string, operator, queue
from typing import List, Tuple, Optional
from collections import deque, Counter, defaultdict
from dataclasses import dataclass, field
from enum import Enum
from scipy import ndimage
"""
    verdict = verdict_of(sandbox, program.replace("from scipy import ndimage\n", GOOD))
    assert verdict.status == "ok", verdict
    assert verdict_of(sandbox, program + GOOD).exception_line == program.count("\n")


def test_modules_look_like_modules_to_what_they_define(sandbox):
    program = """
from __future__ import annotations
import copy
from dataclasses import dataclass
from typing import get_type_hints

@dataclass(frozen=True)
class Thing:
    cells: list[Other]

class Other: ...

if __name__ == "__main__":
    raise ValueError

def transform(grid):
    get_type_hints(Thing)
    return copy.deepcopy(grid)
"""
    assert verdict_of(sandbox, program).status == "ok"


NUMPY = """
import numpy as np
def transform(grid):
    g = grid.astype(float)
    np.linalg.inv(g[:2, :2] + np.eye(2)), np.linalg.svd(g), np.fft.fft2(g), np.ma.masked_equal(grid, 0).filled(0)
    np.random.permutation(5), np.random.default_rng(3).integers(5), np.random.choice([1, 2])
    np.lib.stride_tricks.sliding_window_view(grid, (2, 2)), np.pad(grid, 1, mode="wrap"), np.unique(grid, axis=0)
    np.einsum("ij,kj", grid, grid), np.histogram(grid), np.percentile(grid, 50), np.median(grid), np.kron(grid, grid)
    np.array2string(grid), str(grid), repr(g), f"{g[0, 0]:.2f}", np.vectorize(lambda x: x + 1)(grid), np.poly1d([1])(2)
    np.apply_along_axis(sorted, 0, grid), np.array(["a"]).astype("U5"), np.char.upper(["a"]), np.gradient(g)
    np.convolve([1, 2], [1]), np.lexsort((grid[0], grid[1])), np.select([grid > 1], [grid]), np.loadtxt(["1 2"])
    np.set_printoptions(threshold=5), np.isin(grid, [1]), np.setdiff1d(grid, [1]), np.polynomial.Polynomial([1])(1)
    np.datetime64("2020-01-01") + np.timedelta64(1, "D"), np.rec.array([(1, 2)])
    return grid
"""


def test_numpy_needs_nothing_that_was_not_loaded(sandbox):
    verdict = verdict_of(sandbox, NUMPY)
    assert verdict.status == "ok", verdict


def test_endless_loop_is_a_timeout_by_cpu_time(sandbox):
    for verdict in sandbox.run(["def transform(grid):\n    while True: pass"] * 4, [[GRID]] * 4):
        assert (verdict.status, verdict.rechecked) == ("timeout", False)
        assert 0.5 <= verdict.cpu_s < 1.0  # a quarter over the limit


BURN = """
import resource
def transform(grid):
    while sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) < {seconds}:
        pass
    return grid
"""


def test_near_the_cpu_limit_programs_run_again_alone(sandbox):
    below, above = verdict_of(sandbox, BURN.format(seconds=0.34)), verdict_of(sandbox, BURN.format(seconds=0.43))
    assert (below.status, below.rechecked) == ("ok", True)
    assert (above.status, above.rechecked) == ("timeout", True)
    assert verdict_of(sandbox, BURN.format(seconds=0.1)).rechecked is False


@pytest.mark.parametrize(
    "program",
    [
        "x = []\nwhile True:\n    x.append(bytearray(1 << 20))\n",
        "import numpy as np\nx = np.ones(1 << 40)\n",
        "x = 'a' * (1 << 40)\n",
        "x = [0]\nwhile True:\n    x = x + x\n",
    ],
    ids=["many", "array", "string", "list"],
)
def test_too_much_memory_is_a_verdict_of_its_own(program):
    # Little memory and much time: filling memory takes CPU time, and more of it while other processes fill theirs.
    with Sandbox(Limits(cpu_s=5.0, wall_s=20.0, memory_mb=64)) as sandbox:
        verdict = verdict_of(sandbox, program)
    assert (verdict.status, verdict.exception_type is not None) == ("memory", True), verdict


def test_memory_limit_counts_from_what_the_interpreter_takes():
    program = "x = bytearray({mb} << 20)\n" + GOOD
    with Sandbox(Limits(memory_mb=64)) as sandbox:
        statuses = [verdict_of(sandbox, program.format(mb=mb)).status for mb in (48, 65)]
    assert statuses == ["ok", "memory"]


SAME = """
import random, os, time, numpy as np
from random import Random
def transform(grid):
    facts = [
        random.random(), Random().random(), Random(5).random(), np.random.rand(), np.random.default_rng().random(),
        os.urandom(4), random.SystemRandom().random(), hash("text"), list({"a", "b", "c", "d", None, print, int}),
        np.random.RandomState().rand(), time.time(), time.perf_counter(), time.monotonic_ns(), id(object()),
    ]
    np.random.seed(None)
    random.seed()
    facts += [np.random.rand(), random.random()]
    raise ValueError(repr(facts))
"""


def test_same_program_same_verdict_whatever_it_draws(sandbox):
    first = verdict_of(sandbox, SAME)
    assert first.exception_type == "ValueError", first
    assert len(first.message) > 300
    assert {verdict_of(sandbox, SAME).message for _ in range(8)} == {first.message}
    with Sandbox(Limits(cpu_s=0.4, wall_s=1.0, memory_mb=256), workers=1) as other:
        assert verdict_of(other, SAME).message == first.message


def test_sleep_takes_no_time_until_it_is_too_long(sandbox):
    program = "import time\ndef transform(grid):\n    start = time.time()\n    time.sleep({seconds})\n"
    program += "    assert 0 < time.time() - start - {seconds} < 0.01\n    return grid"
    assert verdict_of(sandbox, program.format(seconds=0.9)).status == "ok"
    assert verdict_of(sandbox, program.format(seconds=1.1)).status == "timeout"
    assert verdict_of(sandbox, "import time\nwhile True:\n    time.sleep(0.3)").status == "timeout"


def test_what_programs_print_goes_nowhere(sandbox, capfd):
    program = "import sys, os\nprint('out')\nsys.stderr.write('err')\nos.write(1, b'raw')\n"
    assert verdict_of(sandbox, program + GOOD).status == "ok"
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_verdicts_come_in_order_and_none_is_swapped(sandbox):
    n = 150
    slow = "def transform(grid):\n    sum(range(200_000))\n"
    programs = [
        (slow if i % 7 == 0 else "def transform(grid):\n") + f"    return [[{i} // 100, {i} // 10 % 10, {i} % 10]]"
        for i in range(n)
    ]
    programs[3::50] = [None] * 3
    programs[17] = "while True: pass"
    verdicts = list(sandbox.run(programs, [[GRID]] * n))
    assert len(verdicts) == n
    for i, verdict in enumerate(verdicts):
        if programs[i] is None:
            assert verdict.status == "no_program"
        elif i == 17:
            assert verdict.status == "timeout"
        else:
            np.testing.assert_array_equal(verdict.outputs[0], [[i // 100, i // 10 % 10, i % 10]])


def test_programs_are_read_as_they_are_needed(sandbox):
    endless = (f"def transform(grid):\n    return [[{i % 10}]]" for i in itertools.count())
    verdicts = sandbox.run(endless, itertools.repeat([GRID]))
    assert [next(verdicts).outputs[0].item() for _ in range(30)] == [i % 10 for i in range(30)]
    verdicts.close()
    assert verdict_of(sandbox, GOOD).status == "ok"


def test_windows_full_of_missing_programs_are_passed(sandbox):
    n = 2500
    verdicts = list(sandbox.run([None] * n + [GOOD], [[GRID]] * (n + 1)))
    assert [verdict.status for verdict in verdicts] == ["no_program"] * n + ["ok"]


def test_programs_and_grids_must_be_as_many(sandbox):
    with pytest.raises(ValueError, match="shorter"):
        list(sandbox.run([GOOD, GOOD], [[GRID]]))
    assert verdict_of(sandbox, GOOD).status == "ok"


def test_more_grids_than_results_have_room_for_are_refused(sandbox):
    with pytest.raises(ValueError, match="2000 grids"):
        list(sandbox.run([GOOD], [[GRID] * 2000]))
    assert len(verdict_of(sandbox, GOOD, [np.zeros((30, 30), int)] * 1000).outputs) == 1000


def test_large_programs_and_many_grids_pass_through(sandbox):
    program = "x = '" + "a" * 3_000_000 + "'\n" + GOOD
    statuses = [v.status for v in sandbox.run([program] * 6, [[np.zeros((30, 30), int)] * 500] * 6)]
    assert statuses == ["ok"] * 6


def test_unusual_sources_are_run_as_they_are(sandbox):
    assert verdict_of(sandbox, "def transform(grid):\r\n    return grid\r\n").status == "ok"
    assert verdict_of(sandbox, "größe = 1\ndef transform(grid):\n    '🟥'\n    return grid * größe").status == "ok"
    assert verdict_of(sandbox, "x = '\ud800'\n" + GOOD).exception_type == "UnicodeEncodeError"
    assert verdict_of(sandbox, GOOD + "\0").status == "exception"
    assert verdict_of(sandbox, "").exception_type == "NameError"


def test_workers_use_one_blas_thread_each(sandbox):
    verdict = verdict_of(sandbox, "import os\nraise ValueError(os.environ['OMP_NUM_THREADS'])")
    assert verdict.message == "1"


def test_more_workers_than_cores_change_nothing():
    programs = [returning(f"grid * 0 + {i % 10}") for i in range(40)]
    with Sandbox(Limits(), workers=2 * os.cpu_count() + 1) as many, Sandbox(Limits()) as one:
        for a, b in zip(many.run(programs, [[GRID]] * 40), one.run(programs, [[GRID]] * 40), strict=True):
            np.testing.assert_array_equal(a.outputs[0], b.outputs[0])
