"""Pixel scores and rewards against hand-made cases and a slow, literal reading of their definitions."""

import numpy as np
import pytest

from arc_precision.sandbox import STATUSES, Verdict
from arc_precision.scoring.rewards import grid_scores, pixel_score, reward, solved
from arc_precision.tasks.grids import Pair, Task


def grid(text: str) -> np.ndarray:
    return np.array([[int(cell) for cell in row] for row in text.split()], dtype=np.int8)


def task_with_answers(train: list[str], test: list[str]) -> Task:
    pairs = [Pair(input=grid("0"), output=grid(answer)) for answer in train + test]
    return Task("t", train=tuple(pairs[: len(train)]), test=tuple(pairs[len(train) :]))


def ok(*outputs: str) -> Verdict:
    return Verdict("ok", outputs=tuple(grid(output) for output in outputs))


# ------------------------------------------------------------------------------------------------------- pixel score


@pytest.mark.parametrize(
    ("predicted", "answer", "score"),
    [
        ("12 34", "12 34", 1.0),
        ("12 34", "12 30", 0.75),
        ("12 34", "50 00", 0.0),
        ("34", "12 34", 0.5),  # the second row
        ("000 012 034", "12 34", 4 / 9),  # the lower right corner
        ("111", "1 1 1", 1 / 9),  # they cross in one cell
        ("12", "2 9", 1 / 4),  # only outside of one another
        ("1", "00 00", 0.0),
        ("00", "000", 2 / 3),
        ("5" * 30, "5", 1 / 30),
    ],
)
def test_pixel_score(predicted, answer, score):
    assert pixel_score(grid(predicted), grid(answer)) == pytest.approx(score, abs=1e-15)
    assert pixel_score(grid(answer), grid(predicted)) == pytest.approx(score, abs=1e-15)


def literal_pixel_score(a: np.ndarray, b: np.ndarray) -> float:
    most = 0
    for dx in range(-6, 7):
        for dy in range(-6, 7):
            cells = [(x, y) for x, y in np.ndindex(*a.shape) if 0 <= x + dx < b.shape[0] and 0 <= y + dy < b.shape[1]]
            most = max(most, sum(a[x, y] == b[x + dx, y + dy] for x, y in cells))
    return most / (max(a.shape[0], b.shape[0]) * max(a.shape[1], b.shape[1]))


def test_pixel_score_of_different_shapes_is_the_best_over_all_places():
    rng = np.random.default_rng(0)
    for _ in range(8):
        shapes = rng.integers(1, 6, 4)
        shapes[2] += shapes[0] == shapes[2] and shapes[1] == shapes[3]
        a, b = (rng.integers(0, 3, shape).astype(np.int8) for shape in (shapes[:2], shapes[2:]))
        assert pixel_score(a, b) == pytest.approx(literal_pixel_score(a, b), abs=1e-15)


def test_grid_scores():
    outputs = [grid("12"), grid("12"), grid("1")]
    correct, pixels = grid_scores(outputs, [grid("12"), grid("13"), grid("11")])
    assert correct == [True, False, False]
    assert pixels == [1.0, 0.5, 0.5]
    with pytest.raises(ValueError, match="longer"):
        grid_scores(outputs[:2], outputs)


# ------------------------------------------------------------------------------------------------------------ reward

TASK = task_with_answers(train=["11", "22", "33"], test=["44"])


@pytest.mark.parametrize(
    ("outputs", "v1", "v2"),
    [
        (["11", "22", "33", "44"], 10.0, 10.0),
        (["00", "00", "00", "00"], 1.0, 1.0),
        (["11", "22", "33", "40"], 1 + 8 * 3 / 4 + 3.5 / 4, 1 + 9 * 3 / 4),
        (["00", "00", "00", "44"], 1 + 8 * 1 / 4 + 1 / 4, 1 + 9 * 1 / 4),  # test counts like train
        (["1", "20", "000", "4 4"], 1 + (1 / 2 + 1 / 2 + 0 + 1 / 4) / 4, 1.0),
    ],
)
def test_reward_formulas(outputs, v1, v2):
    assert reward("arc-v1", ok(*outputs), TASK) == pytest.approx(v1)
    assert reward("arc-v2-no-pixel-score", ok(*outputs), TASK) == pytest.approx(v2)


@pytest.mark.parametrize("n_pairs", range(1, 11))
@pytest.mark.parametrize("name", ["arc-v1", "arc-v2-no-pixel-score"])
def test_a_solved_task_gives_exactly_ten_and_one_wrong_cell_less(name, n_pairs):
    answers = ["123 456"] * n_pairs
    task = task_with_answers(train=answers, test=["7"])
    assert reward(name, ok(*answers, "7"), task) == 10.0
    assert solved(ok(*answers, "7"), task)
    almost = ok(*answers[1:], "123 450", "7")
    assert reward(name, almost, task) < 10.0
    assert not solved(almost, task)


@pytest.mark.parametrize(
    ("outputs", "right"),
    [(("1", "2", "3"), True), (("9", "2", "3"), False), (("1", "9", "3"), False), (("1", "2", "9"), False)],
)
def test_a_task_is_solved_by_a_program_that_is_right_on_every_grid(outputs, right):
    """Two train grids and one test grid: neither the test grid alone nor the train grids alone suffice."""
    assert solved(ok(*outputs), task_with_answers(["1", "2"], ["3"])) == right
    assert not solved(Verdict("timeout", outputs=None), task_with_answers(["1", "2"], ["3"]))


@pytest.mark.parametrize("status", [status for status in STATUSES if status not in ("ok", "sandbox_error")])
def test_a_program_that_did_not_run_on_every_grid_gets_nothing(status):
    assert reward("arc-v1", Verdict(status), TASK) == 0.0
    assert reward("arc-v2-no-pixel-score", Verdict(status), TASK) == 0.0
    assert not solved(Verdict(status), TASK)


def test_reward_refuses():
    with pytest.raises(ValueError, match="sandbox_error has no reward"):
        reward("arc-v1", Verdict("sandbox_error"), TASK)
    with pytest.raises(ValueError, match="reward is 'arc-v3'; it must be one of arc-v1, arc-v2-no-pixel-score"):
        reward("arc-v3", Verdict("timeout"), TASK)
    with pytest.raises(ValueError, match="longer"):
        reward("arc-v1", ok("11"), TASK)
