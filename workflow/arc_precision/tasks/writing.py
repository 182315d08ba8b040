"""Grids as text: the forms that prompts choose from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from arc_precision.tasks.grids import N_COLORS, Grid

COLOR_NAMES = ("Black", "Blue", "Red", "Green", "Yellow", "Gray", "Pink", "Orange", "Purple", "Brown")
_DIGITS = tuple("0123456789")

# A grid's text is a sequence of words, one per cell: a separator and the name of the cell's colour. The separator is
# that of rows for a row's first cell, else that of cells. Eight bytes hold every word, so numpy looks up all words of
# all grids at once.
_ROW_START = N_COLORS
_GRID_END = 2 * N_COLORS
_GRID_END_TEXT = "\f"
N_WORDS = _GRID_END + 1


@dataclass(frozen=True)
class Writing:
    """One way of writing grids."""

    names: tuple[str, ...]
    """Names of the colours 0 to 9."""
    between_cells: str
    between_rows: str
    opening: str = ""
    closing: str = ""

    def texts(self, grids: Sequence[Grid]) -> list[str]:
        """Each grid's text, without a newline at its end."""
        text = _table(self).take(words(grids)).tobytes().translate(None, b"\0").decode()
        skipped = len(self.between_rows)
        return [f"{self.opening}{grid[skipped:]}{self.closing}" for grid in text.split(_GRID_END_TEXT)[:-1]]


WRITINGS = {
    "colors": Writing(COLOR_NAMES, " ", "\n"),
    "digits": Writing(_DIGITS, "", "\n"),
    "spaced": Writing(_DIGITS, " ", "\n"),
    "lists": Writing(_DIGITS, ", ", "], [", "[[", "]]"),
}
"""Forms by the name that templates use."""


def words(grids: Sequence[Grid]) -> np.ndarray:
    """The grids as numbers of words, a grid's end after each: uint8 (cells + grids,), below `N_WORDS`.

    0 to 9 are the colours after another cell, 10 to 19 those that begin a row.
    """
    end = bytes([_GRID_END])
    cells = np.frombuffer(b"".join([grid.tobytes() + end for grid in grids]), dtype=np.uint8)
    return cells + np.concatenate([_row_starts(*grid.shape) for grid in grids])


@cache
def _row_starts(height: int, width: int) -> np.ndarray:
    """The amounts added to the first cell of each row; uint8 (height * width + 1,)."""
    starts = np.zeros(height * width + 1, dtype=np.uint8)
    starts[: height * width : width] = _ROW_START
    return starts


@cache
def _table(writing: Writing) -> np.ndarray:
    """The text of each word, eight bytes as one number: uint64 (`N_WORDS`,)."""
    before = (writing.between_cells, writing.between_rows)
    texts = [f"{sign}{name}".encode() for sign in before for name in writing.names] + [_GRID_END_TEXT.encode()]
    return np.array(texts, dtype="S8").view(np.uint64)
