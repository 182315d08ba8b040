"""One run for all equal programs: the same program on the same grids has the same verdict."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from arc_precision.sandbox.verdicts import Verdict

Run = Callable[[Iterable[str], Iterable[Sequence[np.ndarray]]], Iterator[Verdict]]


def run_each_once(
    run: Run, programs: Sequence[str | None], grids: Sequence[Sequence[np.ndarray]]
) -> Iterator[tuple[Verdict, bool]]:
    """For each program in order its verdict, and whether that is the verdict of an equal one before it.

    Args:
        run: gives the verdicts of programs in their order, as `Sandbox.run` does.
        programs: None where a completion held none; those count as no repetition.
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
