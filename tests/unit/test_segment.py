"""The training rows that a segment reads."""

import numpy as np

from arc_precision.contracts.parquet import count_rows, write_rows
from arc_precision.contracts.tasks import TASKS
from arc_precision.training.segment import row_order, segment_rows


def test_a_segment_reads_every_prompt_of_its_order_and_the_tasks_that_are_still_to_come(tmp_path):
    def row(number):
        pair = {"input": [[number % 10]], "output": [[0]]}
        named = {"row_id": f"row-{number}", "task_id": f"task-{number}", "prompt": f"prompt {number}"}
        return dict.fromkeys(TASKS.names) | named | {"train": [pair], "test": [pair]}

    path = tmp_path / "rows.parquet"
    write_rows(path, TASKS, [[row(number) for number in range(start, start + 4)] for start in (0, 4, 8)])
    order = np.array([9, 2, 9, 5, 0])
    prompts, tasks = segment_rows(path, order, done=3)
    assert count_rows(path, TASKS) == 12
    assert {number: prompt["prompt"] for number, prompt in prompts.items()} == {n: f"prompt {n}" for n in (0, 2, 5, 9)}
    assert {row_id: task.train[0].input.tolist() for row_id, task in tasks.items()} == {"row-5": [[5]], "row-0": [[0]]}


def test_a_longer_run_begins_with_the_rows_of_a_shorter_one():
    longer = row_order(7, seed=3, n_prompts=20)
    assert np.array_equal(longer[:9], row_order(7, seed=3, n_prompts=9))
    assert sorted(longer[:7]) == sorted(longer[7:14]) == list(range(7))
    assert not np.array_equal(longer[:7], row_order(7, seed=4, n_prompts=7))
