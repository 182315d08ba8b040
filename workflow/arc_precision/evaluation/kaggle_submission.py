"""Answers in the form that Kaggle's ARC Prize competitions take: two attempts for each test input of every task."""

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from arc_precision.evaluation.task_metrics import attempts, grid_keys, grid_of_key
from arc_precision.tasks.grids import Task

N_ATTEMPTS = 2
NO_ANSWER = [[0, 0], [0, 0]]
"""The attempt if no program gave a grid, as in Kaggle's sample submission: every test input needs two attempts."""

Submission = dict[str, list[dict[str, list[list[int]]]]]


def submission(tasks: Iterable[Task], scores: pd.DataFrame, outputs: pa.ListArray) -> Submission:
    """`{"TASK": [{"attempt_1": rows, "attempt_2": rows}, ...]}`, an entry for each test input.

    The attempts are those that the metric `two_attempts` scores.

    Args:
        tasks: all that are handed in, also those that were not sampled.
        scores: scalar columns of scored completions (`contracts.scores`).
        outputs: their output grids, in the same order.
    """
    n_tests = {task.task_id: len(task.test) for task in tasks}
    chosen = attempts(scores, grid_keys(outputs), n_tests)
    return {
        task_id: [_entry(keys) for keys in chosen.get(task_id, [[]] * n_inputs)]
        for task_id, n_inputs in n_tests.items()
    }


def _entry(keys: list[bytes]) -> dict[str, list[list[int]]]:
    grids = [*map(grid_of_key, keys), *[NO_ANSWER] * N_ATTEMPTS][:N_ATTEMPTS]
    return {f"attempt_{number}": grid for number, grid in enumerate(grids, start=1)}
