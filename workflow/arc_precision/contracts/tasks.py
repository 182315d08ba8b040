"""data/*.parquet: one prompt per row."""

import numpy as np
import pyarrow as pa

from arc_precision.contracts.parquet import contract
from arc_precision.tasks.grids import Grid, Pair, Task

GRID = pa.list_(pa.list_(pa.int8()))
PAIRS = pa.list_(pa.struct([("input", GRID), ("output", GRID)]))

TASKS = contract(
    1,
    {
        "row_id": (pa.string(), "Unique in the file: task_id, and /k for the k-th augmentation."),
        "task_id": (pa.string(), "Name of the task in its source."),
        "source": (pa.string(), "Name of the source in the config."),
        "train": (PAIRS, "Pairs that show the rule, augmented; order as in the prompt."),
        "test": (PAIRS, "Pairs that test it, augmented; an output is null where the answer is not known."),
        "test_index": (pa.int32(), "The test pair whose input stands in the prompt."),
        "augmentation": (pa.string(), "JSON: flip, quarter_turns, colors (new colour of each old one); null: none."),
        "prompt": (pa.string(), "Text of the prompt, with all special tokens written out."),
        "prompt_tokens": (pa.int32(), "Its length."),
        "canonical": (pa.string(), "SHA-256 of the task in canonical form; null without answers."),
        "seen_in_training": (
            pa.bool_(),
            "Whether a task of this canonical form is in the training data; null there, and without answers.",
        ),
    },
)


def task_of_row(row: dict) -> Task:
    """The (augmented) task of a row, all of its pairs."""
    return Task(row["task_id"], _pairs(row["train"]), _pairs(row["test"]))


def _pairs(pairs: list[dict]) -> tuple[Pair, ...]:
    return tuple(Pair(*(_grid(pair[side]) for side in ("input", "output"))) for pair in pairs)


def _grid(rows: list[list[int]] | None) -> Grid | None:
    return None if rows is None else np.array(rows, np.int8)
