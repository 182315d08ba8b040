"""Grids, pairs and tasks, and the rules a grid must follow."""

import json
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

MAX_SIDE = 30
N_COLORS = 10

Grid = np.ndarray  # int8, shape (height, width), sides 1 to 30, values 0 to 9


@dataclass(frozen=True)
class Pair:
    """One example: an input grid and the output grid that belongs to it."""

    input: Grid
    output: Grid | None
    """None: a test pair whose answer is not known."""


@dataclass(frozen=True)
class Task:
    """An ARC task: pairs that show the rule (`train`) and pairs that test it (`test`)."""

    task_id: str
    train: tuple[Pair, ...]
    test: tuple[Pair, ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs, train first."""
        return self.train + self.test

    @property
    def answered(self) -> bool:
        """Whether the outputs of all test pairs are known."""
        return all(pair.output is not None for pair in self.test)


_COLORS = bytes(range(N_COLORS))


def grid_from_json(rows: Any) -> Grid:
    """The grid that a list of rows spells; read-only.

    Raises:
        ValueError: it is no grid; the message gives the reason, without the place.
    """
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        raise ValueError("a grid is a list of rows, and a row a list of at least one colour")
    height, width = len(rows), len(rows[0])
    if any(len(row) != width for row in rows):
        raise ValueError(f"rows of different lengths, {sorted({len(row) for row in rows})}; a grid is a rectangle")
    if height > MAX_SIDE or width > MAX_SIDE:
        raise ValueError(f"{height} rows of {width} cells; a side has at most {MAX_SIDE}")
    try:
        whole = set(map(type, chain.from_iterable(rows))) == {int}  # true and false are no colours
        cells = b"".join(map(bytes, rows)) if whole else None  # bytes() takes whole numbers from 0 to 255
    except ValueError:
        cells = None
    if cells is None or cells.translate(None, _COLORS):
        wrong = next(cell for row in rows for cell in row if type(cell) is not int or not 0 <= cell < N_COLORS)
        raise ValueError(f"the value {json.dumps(wrong):.60}; a colour is a whole number from 0 to {N_COLORS - 1}")
    return np.frombuffer(cells, dtype=np.int8).reshape(height, width)


def task_from_json(task_id: str, data: Any, origin: str, answered: bool = True) -> Task:
    """A task from ARC's JSON: `{"train": [{"input": rows, "output": rows}, ...], "test": [...]}`.

    Args:
        task_id: Its name.
        data: The parsed JSON.
        origin: The file it stands in, for the message of an error.
        answered: Whether test pairs have outputs.

    Raises:
        ValueError: it is no task; the message gives file, task, place and fault.
    """
    if not task_id.strip() or not task_id.isascii() and _surrogate(task_id):
        raise ValueError(f"{origin}: {json.dumps(task_id)} is no name of a task; give each task a name")
    place = f"{origin}: task {task_id:.80}"
    lists = {}
    for part in ("train", "test"):
        pairs = data.get(part) if isinstance(data, dict) else None
        if not isinstance(pairs, list) or not pairs:
            raise ValueError(f"{place}: no {part} pairs; a task needs at least one")
        lists[part] = tuple(
            pair_from_json(pair, f"{place}: {part} pair {i}", answered or part == "train")
            for i, pair in enumerate(pairs, start=1)
        )
    return Task(task_id, lists["train"], lists["test"])


def pair_from_json(pair: Any, place: str, answered: bool = True) -> Pair:
    """A pair from `{"input": rows, "output": rows}`; without an output unless it is `answered`.

    Raises:
        ValueError: it is no pair; the message gives place and fault.
    """
    return Pair(_grid_of(pair, "input", place), _grid_of(pair, "output", place) if answered else None)


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For a JSON parser's `object_pairs_hook`: the object of its pairs.

    Raises:
        ValueError: two of its keys are equal.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{json.dumps(twice):.80} stands twice in one object; give each task its own name")
    return content


def _surrogate(text: str) -> bool:
    """Whether text cannot be written to a file, because JSON can spell half a character."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _grid_of(pair: Any, side: str, place: str) -> Grid:
    if not isinstance(pair, dict) or side not in pair:
        raise ValueError(f"{place}: no {side} grid; every pair needs an input and an output")
    try:
        return grid_from_json(pair[side])
    except ValueError as error:
        raise ValueError(f"{place}: {side}: {error}") from None
