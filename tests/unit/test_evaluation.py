import itertools
import json
from math import comb

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from arc_precision.contracts.costs import seconds_per_task, write_cost
from arc_precision.contracts.scores import SCORES
from arc_precision.contracts.whole import DamagedFile
from arc_precision.evaluation.kaggle_submission import submission
from arc_precision.evaluation.task_metrics import (
    choose_attempts,
    grid_key,
    grid_keys,
    pass_at_k,
    per_task,
    powers_of_two,
    two_attempts,
    verdict_mix,
)
from arc_precision.tasks.grids import Pair, Task


def scores(*rows: dict) -> pd.DataFrame:
    """Score rows with defaults for the columns that a test does not name."""
    default = {
        "row_id": "t", "task_id": "t", "sample": 0, "verdict": "ok", "exception_type": None, "exception_line": None,
        "program": "def transform(g): return g", "outputs": None, "train_correct": 0, "train_total": 2,
        "test_correct": 0, "test_total": 1, "train_pixels": 0.0, "test_pixels": 0.0, "solved": False, "reward": 1.0,
        "completion_tokens": 10, "truncated": False, "seen_in_training": False,
    }  # fmt: skip
    assert default.keys() == set(SCORES.names)
    return pd.DataFrame([default | row for row in rows])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pass_at_k_is_the_share_of_subsets_with_a_solution(n):
    for c in range(n + 1):
        solved = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(itertools.combinations(solved, k))
            share = sum(any(subset) for subset in subsets) / len(subsets)
            assert pass_at_k(n, c, k) == pytest.approx(share)
            assert pass_at_k(n, c, k) == pytest.approx(1 - comb(n - c, k) / comb(n, k))


def test_pass_at_k_is_undefined_with_fewer_completions_than_k():
    assert np.isnan(pass_at_k(3, 3, 4))
    assert pass_at_k(np.array([512]), np.array([3]), 256) == pytest.approx(1 - comb(509, 256) / comb(512, 256))


def test_powers_of_two():
    assert powers_of_two(1) == [1]
    assert powers_of_two(8) == [1, 2, 4, 8]
    assert powers_of_two(6) == [1, 2, 4, 6]
    assert powers_of_two(0) == []


def test_per_task_needs_one_program_that_is_right_on_everything():
    frame = scores(
        {"train_correct": 2, "test_correct": 0},  # right on train alone
        {"train_correct": 0, "test_correct": 1},  # right on test alone: no program has solved the task
        {"task_id": "u", "train_correct": 2, "test_correct": 1, "solved": True, "reward": 10.0, "train_pixels": 1.0},
        {"task_id": "u", "verdict": "exception", "train_pixels": np.nan, "truncated": True, "reward": 0.0},
    )
    tasks = per_task(frame)
    assert list(tasks.index) == ["t", "u"]
    assert list(tasks["solved"]) == [0, 1]
    assert list(tasks["solved_any"]) == [0, 1]
    assert list(tasks["pass@1"]) == [0, 0.5]
    assert list(tasks["pass@2"]) == [0, 1]
    assert list(tasks["train_pass"]) == [0.5, 0.5]
    assert list(tasks["test_pass"]) == [0.5, 0.5]
    assert list(tasks["train_pixels"]) == [0, 0.5]
    assert list(tasks["valid_share"]) == [1, 0.5]
    assert list(tasks["truncated_share"]) == [0, 0.5]
    assert list(tasks["reward"]) == [1, 5]


def test_sandbox_faults_are_counted_and_left_out():
    frame = scores(
        {"verdict": "sandbox_error", "reward": np.nan},
        {"solved": True, "train_correct": 2, "test_correct": 1},
        {"task_id": "u", "verdict": "sandbox_error", "reward": np.nan},
    )
    tasks = per_task(frame)
    assert list(tasks["n"]) == [1, 0]
    assert list(tasks["sandbox_errors"]) == [1, 1]
    assert tasks.loc["t", "pass@1"] == 1
    assert tasks.loc["u", ["pass@1", "solved_any", "test_pixels"]].isna().all()


def test_grid_keys_tell_grids_apart():
    grids = [[[[1, 2]], [[1], [2]]], None, [[[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4], [5, 6]]]]
    keys = grid_keys(pa.array(grids, type=SCORES.field("outputs").type))
    assert keys[1] is None
    assert keys[0] == [grid_key([[1, 2]]), grid_key([[1], [2]])]
    assert len({*keys[0], *keys[2]}) == 4


def test_attempts_follow_train_pairs_then_votes_then_length():
    a, b, c = b"a", b"b", b"c"
    assert choose_attempts([a, b, b], [1, 0.5, 0.5], [9, 1, 1]) == [a, b]  # right on train beats votes
    assert choose_attempts([a, b, b], [0, 0, 0], [1, 9, 9]) == [b, a]  # votes
    assert choose_attempts([a, b], [0, 0], [9, 8]) == [b, a]  # shorter program
    assert choose_attempts([a, b], [0, 0], [9, 9]) == [a, b]  # the earlier one
    assert choose_attempts([a, a, b, c], [1, 0, 0, 0], [5, 5, 5, 4]) == [a, c]  # a grid is handed in once
    assert choose_attempts([a, a, b, b], [0, 1, 0, 0], [5, 5, 5, 5]) == [a, b]
    assert choose_attempts([], [], []) == []


def test_two_attempts_score_each_test_grid():
    right, wrong, worse = [[1]], [[2]], [[3]]
    frame = scores(
        {"train_correct": 2, "test_total": 2, "outputs": [right, right, right, wrong]},
        {"train_correct": 1, "test_total": 2, "outputs": [right, wrong, wrong, worse]},
        {"verdict": "exception"},
        {"task_id": "u", "verdict": "exception"},
    )
    keys = grid_keys(pa.array(list(frame["outputs"]), type=SCORES.field("outputs").type))
    answers = {"t": [grid_key(right), grid_key([[4]])], "u": [grid_key(right)]}
    assert two_attempts(frame, keys, answers).to_dict() == {"t": 0.5, "u": 0.0}


def test_a_submission_hands_in_what_two_attempts_scores():
    first, second, third = [[1, 2], [3, 4], [5, 6]], [[2]], [[3] * 30]
    frame = scores(
        {"train_correct": 0, "test_total": 0, "outputs": [first, first, third, second]},
        {"train_correct": 2, "test_total": 0, "outputs": [first, first, first, second]},
        {"train_correct": 0, "test_total": 0, "outputs": [first, first, second, second]},
        {"train_correct": 0, "test_total": 0, "outputs": [first, first, second, second]},
        {"verdict": "exception"},
        {"task_id": "u", "verdict": "exception"},
    )
    outputs = pa.array(list(frame["outputs"]), type=SCORES.field("outputs").type)
    unanswered = [Pair(np.zeros((1, 1), np.int8), None)]
    tasks = [Task("w", (), tuple(unanswered)), Task("t", (), tuple(unanswered * 2)), Task("u", (), tuple(unanswered))]
    nothing = {"attempt_1": [[0, 0], [0, 0]], "attempt_2": [[0, 0], [0, 0]]}
    assert submission(tasks, frame, outputs) == {
        "w": [nothing],  # was not sampled
        "t": [{"attempt_1": first, "attempt_2": second}, {"attempt_1": second, "attempt_2": [[0, 0], [0, 0]]}],
        "u": [nothing],
    }


def test_tokens_of_a_task_are_those_of_all_its_completions():
    frame = scores({"completion_tokens": 5}, {"completion_tokens": 7}, {"task_id": "u", "completion_tokens": 1})
    assert per_task(frame)["tokens_per_task"].to_dict() == {"t": 12.0, "u": 1.0}


def test_the_cost_of_sampling_is_written_and_read(tmp_path):
    write_cost(tmp_path / "set.float16.json", 12.0, [100, 50, 30], n_samples=4)
    written = json.loads((tmp_path / "set.float16.json").read_text())
    assert (written["completions"], written["prompt_tokens"], written["tasks"]) == (12, 720, 3)
    assert seconds_per_task(tmp_path / "set.float16.json") == 4.0
    (tmp_path / "set.float16.json").write_text("{")
    with pytest.raises(DamagedFile):
        seconds_per_task(tmp_path / "set.float16.json")


def test_verdict_mix():
    frame = scores({}, {}, {"verdict": "timeout"}, {"verdict": "sandbox_error"})
    assert verdict_mix(frame).to_dict() == {"ok": 0.5, "sandbox_error": 0.25, "timeout": 0.25}
