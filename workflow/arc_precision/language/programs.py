"""Programs of the grid language: steps, running them, and their text."""

import re
from typing import get_type_hints

import numpy as np

from arc_precision.language.dsl import PRIMITIVES, NotApplicable, Redrawn
from arc_precision.tasks.grids import Grid, Pair

Step = tuple[str, tuple[int, ...]]
"""A primitive's name and its colours."""
Program = tuple[Step, ...]


_HINTS = {name: get_type_hints(function) for name, function in PRIMITIVES.items()}

COLOR_TYPES: dict[str, tuple[type, ...]] = {
    name: tuple(kind for parameter, kind in hints.items() if parameter not in ("grid", "return"))
    for name, hints in _HINTS.items()
}
"""The arguments of each primitive beside the grid: `dsl.Color`, `dsl.Ink` or `dsl.Paint`."""

KEEPS_SHAPE = frozenset(name for name, hints in _HINTS.items() if hints["return"] is Redrawn)
"""The primitives whose result has the shape of their input."""

HEAD = "```python\nfrom dsl import *\n\ndef transform(grid):\n"
LINE, OPEN, SEPARATOR, CLOSE = "    grid = ", "(grid", ", ", ")\n"
FOOT = "    return grid\n```"


def run_program(program: Program, grid: Grid) -> Grid | None:
    """The output grid, or None where a step is not applicable."""
    try:
        for name, colors in program:
            grid = PRIMITIVES[name](grid, *colors)
    except NotApplicable:
        return None
    return grid


def same_grid(first: Grid | None, second: Grid) -> bool:
    """Whether both are grids of one shape and content."""
    return first is not None and np.array_equal(first, second)


def solves(program: Program, pairs: tuple[Pair, ...]) -> bool:
    """Whether the program turns every input into its output."""
    return all(same_grid(run_program(program, pair.input), pair.output) for pair in pairs)


def completion_text(program: Program) -> str:
    """The program as a model writes it: Python source between a ```python fence and its closing fence."""
    calls = [name + OPEN + "".join(f"{SEPARATOR}{color}" for color in colors) for name, colors in program]
    return HEAD + "".join(LINE + call + CLOSE for call in calls) + FOOT


_CALL = re.compile(r"    grid = (\w+)\(grid((?:, [0-9])*)\)\n")


def parse_completion(completion: str) -> Program | None:
    """The program of a completion written as `completion_text` writes it, or None where it is anything else."""
    if not (completion.startswith(HEAD) and completion.endswith(FOOT)):
        return None
    body = completion[len(HEAD) : -len(FOOT)]
    calls = list(_CALL.finditer(body))
    steps = tuple((call[1], tuple(int(color) for color in call[2].split(SEPARATOR)[1:])) for call in calls)
    complete = "".join(call[0] for call in calls) == body
    known = all(name in COLOR_TYPES and len(colors) == len(COLOR_TYPES[name]) for name, colors in steps)
    return steps if complete and known and steps else None
