"""Tasks to a table of rows in the columns of `contracts.tasks.TASKS`, and the account of those that became none."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from arc_precision.contracts.tasks import PAIRS, TASKS
from arc_precision.tasks.augment import Augmentation, draw_augmentation, row_rng
from arc_precision.tasks.canonical import canonical_keys
from arc_precision.tasks.grids import Grid, Pair, Task

WritePrompt = Callable[[Task, int], tuple[str, int]]
"""A function from a task and the index of a test pair to the prompt's text and its length in tokens."""


@dataclass(frozen=True)
class Recipe:
    """The settings by which tasks become rows."""

    write_prompt: WritePrompt
    max_prompt_tokens: int
    augment: bool = False
    augmentations: int = 1
    seed: int = 0


@dataclass
class Counts:
    """Counts of a source's tasks by their fate."""

    tasks_read: int = 0
    rows_too_long: int = 0
    """Rows dropped because their prompt has more than max_prompt_tokens."""
    tasks_in_training: int = 0
    """Tasks dropped from a held-out set because they are in the training data."""
    tasks_not_drawn: int = 0
    """Tasks left out by n_tasks."""
    shortest_prompt_tokens: int | None = None
    """Shortest prompt before any were dropped, in tokens."""

    def add(self, other: "Counts") -> None:
        """Count another chunk's tasks too."""
        self.tasks_read += other.tasks_read
        self.rows_too_long += other.rows_too_long
        lengths = [self.shortest_prompt_tokens, other.shortest_prompt_tokens]
        self.shortest_prompt_tokens = min((length for length in lengths if length is not None), default=None)


def make_table(source: str, tasks: list[Task], recipe: Recipe) -> tuple[pa.Table, Counts]:
    """The rows of some tasks, in their order, those that are too long left out."""
    lengths: list[int] = []
    kept: list[Task] = []
    columns: dict[str, list] = {name: [] for name in TASKS.names if name not in ("train", "test")}
    keys = iter(canonical_keys([task for task in tasks if task.answered]))
    for task in tasks:
        canonical = next(keys) if task.answered else None
        for k in range(recipe.augmentations):
            row, augmentation, test_index = _augment(source, task, recipe, k)
            prompt, n_tokens = recipe.write_prompt(row, test_index)
            lengths.append(n_tokens)
            if n_tokens > recipe.max_prompt_tokens:
                continue
            kept.append(row)
            columns["row_id"].append(f"{source}/{task.task_id}" + (f"/{k}" if recipe.augment else ""))
            columns["task_id"].append(task.task_id)
            columns["source"].append(source)
            columns["test_index"].append(test_index)
            columns["augmentation"].append(augmentation and augmentation.to_json())
            columns["prompt"].append(prompt)
            columns["prompt_tokens"].append(n_tokens)
            columns["canonical"].append(canonical)
            columns["seen_in_training"].append(None)
    counts = Counts(len(tasks), len(lengths) - len(kept), shortest_prompt_tokens=min(lengths, default=None))
    arrays = {name: pa.array(values, TASKS.field(name).type) for name, values in columns.items()}
    arrays["train"] = _pairs_array([task.train for task in kept])
    arrays["test"] = _pairs_array([task.test for task in kept])
    return pa.Table.from_pydict(arrays, schema=TASKS), counts


def _augment(source: str, task: Task, recipe: Recipe, k: int) -> tuple[Task, Augmentation | None, int]:
    """The task of a row, its augmentation, and the test pair that its prompt asks for."""
    if not recipe.augment:
        return task, None, 0
    rng = row_rng(recipe.seed, source, task.task_id, k)
    augmentation = draw_augmentation(rng, len(task.train))
    return augmentation.apply_to_task(task), augmentation, int(rng.integers(len(task.test)))


def _pairs_array(pairs_of_rows: list[tuple[Pair, ...]]) -> pa.Array:
    """A column of pairs, made from the cells' bytes because Arrow is slow with lists of lists of numbers."""
    pairs = [pair for pairs in pairs_of_rows for pair in pairs]
    structs = pa.StructArray.from_arrays(
        [_grids_array([pair.input for pair in pairs]), _grids_array([pair.output for pair in pairs])],
        fields=list(PAIRS.value_type.fields),
    )
    return pa.ListArray.from_arrays(_offsets([len(pairs) for pairs in pairs_of_rows]), structs)


def _grids_array(grids: list[Grid | None]) -> pa.Array:
    known = [grid for grid in grids if grid is not None]
    cells = np.frombuffer(b"".join([grid.tobytes() for grid in known]), dtype=np.int8)
    shapes = [(0, 0) if grid is None else grid.shape for grid in grids]
    heights, widths = np.array(shapes, dtype=np.int32).reshape(-1, 2).T
    rows = pa.ListArray.from_arrays(_offsets(np.repeat(widths, heights)), pa.array(cells))
    null = None if len(known) == len(grids) else pa.array([grid is None for grid in grids])
    return pa.ListArray.from_arrays(_offsets(heights), rows, mask=null)


def _offsets(lengths: Iterable[int]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
