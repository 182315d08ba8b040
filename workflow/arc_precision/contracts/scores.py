"""scores/**/*.parquet: one verdict per row, in the order of the samples."""

import pyarrow as pa

from arc_precision.contracts.parquet import contract
from arc_precision.contracts.tasks import GRID

SCORES = contract(
    1,
    {
        "row_id": (pa.string(), "Row of the task file."),
        "task_id": (pa.string(), "Name of the task in its source."),
        "sample": (pa.int32(), "Number of the completion."),
        "verdict": (pa.string(), "What the sandbox said of the program."),
        "exception_type": (pa.string(), "Type of the exception, if one ended it."),
        "exception_line": (pa.int32(), "Line of the program that raised it."),
        "program": (pa.string(), "The program found in the completion."),
        "outputs": (pa.list_(GRID), "Its outputs, train pairs first; null unless the verdict is ok."),
        "train_correct": (pa.int32(), "Train grids that are exactly right."),
        "train_total": (pa.int32(), "Train pairs."),
        "test_correct": (pa.int32(), "Test grids that are exactly right."),
        "test_total": (pa.int32(), "Test pairs whose answer is known: all of them, or none."),
        "train_pixels": (pa.float64(), "Mean pixel score over the train grids."),
        "test_pixels": (pa.float64(), "Mean pixel score over the test grids; null without answers."),
        "solved": (pa.bool_(), "All train and test grids right, by this one program; null without answers."),
        "reward": (pa.float64(), "Reward that training would give; null without answers."),
        "completion_tokens": (pa.int32(), "Length of the completion."),
        "truncated": (pa.bool_(), "The completion was cut."),
        "seen_in_training": (pa.bool_(), "As in the task file."),
    },
)
