import numpy as np
import pytest

from arc_precision.tasks.grids import grid_from_json, task_from_json

PAIR = {"input": [[1, 2], [3, 4]], "output": [[0]]}
WIDE = {"input": [[0] * 31], "output": [[0]]}


def test_grid_has_the_cells_of_its_rows():
    grid = grid_from_json([[0, 9, 5], [1, 2, 3]])
    assert grid.dtype == np.int8
    assert grid.tolist() == [[0, 9, 5], [1, 2, 3]]


def test_largest_grid_is_allowed():
    assert grid_from_json([[7] * 30] * 30).shape == (30, 30)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0] * 31], "1 rows of 31 cells"),
        ([[0]] * 31, "31 rows of 1 cells"),
        ([[0, 1], [0]], r"different lengths, \[1, 2\]"),
        ([[0, 10]], "the value 10"),
        ([[0, 300]], "the value 300"),
        ([[-1]], "the value -1"),
        ([[1.5]], "the value 1.5"),
        ([["1"]], 'the value "1"'),
        ([[None]], "the value null"),
        ([[True]], "the value true"),
        ([[0, False]], "the value false"),
        ([], "a grid is a list of rows"),
        ([[]], "a grid is a list of rows"),
        ([1, 2], "a grid is a list of rows"),
        (None, "a grid is a list of rows"),
    ],
)
def test_what_is_no_grid_is_refused_with_the_reason(rows, message):
    with pytest.raises(ValueError, match=message):
        grid_from_json(rows)


def test_task_keeps_train_and_test_apart():
    task = task_from_json("a", {"train": [PAIR, PAIR], "test": [PAIR]}, "f.json")
    assert (task.task_id, len(task.train), len(task.test), len(task.pairs)) == ("a", 2, 1, 3)
    assert task.train[1].input.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": [PAIR], "test": [{"input": [[1]]}]}, "f.json: task a: test pair 1: no output grid"),
        ({"train": [], "test": [PAIR]}, "f.json: task a: no train pairs"),
        ({"train": [PAIR]}, "f.json: task a: no test pairs"),
        ([], "f.json: task a: no train pairs"),
        ({"train": [PAIR, WIDE], "test": [PAIR]}, "f.json: task a: train pair 2: input: 1 rows of 31 cells"),
    ],
)
def test_error_names_file_task_and_place(data, message):
    with pytest.raises(ValueError, match=message):
        task_from_json("a", data, "f.json")
