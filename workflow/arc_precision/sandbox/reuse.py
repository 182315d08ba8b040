"""One run for all equal programs: the same program on the same grids has the same verdict."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from arc_precision.sandbox.verdicts import Verdict

Run = Callable[[Iterable[str], Iterable[Sequence[np.ndarray]]], Iterator[Verdict]]


def run_each_once(
    run: Run, programs: Sequence[str | None], grids: Sequence[Sequence[np.ndarray]]
) -> Iterator[tuple[Verdict, bool]]:
    """The verdict of each program in order, and whether it comes from an equal program before it.

    Args:
        run: gives the verdicts of programs in their order, as `Sandbox.run` does.
        programs: None for a completion without a program; these never count as repetitions.
        grids: input grids [height, width] of each program.
    """
    firsts: dict[tuple, int] = {}
    first_of = [
        index if program is None else firsts.setdefault((program, *map(_key, inputs)), index)
        for index, (program, inputs) in enumerate(zip(programs, grids, strict=True))
    ]
    last_use = {first: index for index, first in enumerate(first_of)}
    distinct = [index for index, first in enumerate(first_of) if index == first]
    fresh = run([programs[index] for index in distinct], [grids[index] for index in distinct])
    verdicts: dict[int, Verdict] = {}
    for index, first in enumerate(first_of):
        if index == first:
            verdicts[first] = next(fresh)
        yield verdicts[first] if last_use[first] > index else verdicts.pop(first), index != first


def _key(grid: np.ndarray) -> tuple:
    return grid.shape, grid.tobytes()
