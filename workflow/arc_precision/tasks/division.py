"""Tasks from a list of pairs that does not say which are train and which are test pairs: RE-ARC's and BARC's."""

from typing import Any

from arc_precision.config.data import Division
from arc_precision.tasks.augment import row_rng
from arc_precision.tasks.grids import Task, pair_from_json


def divided(name: str, pairs: list[Any], division: Division, place: str) -> list[Task]:
    """`NAME-0`, `NAME-1`, ...: each of the next pairs in an order drawn from the seed and the name alone.

    Args:
        name: of the list.
        pairs: as ARC's JSON has them; only those of the tasks are looked at.
        place: of the list, for the message of an error.

    Raises:
        ValueError: there are too few pairs for one task, or one of them is no pair.
    """
    n_test, size = division.test, division.train + division.test
    if len(pairs) <= n_test:
        raise ValueError(
            f"{place}: {len(pairs)} pairs; a task with test pairs {n_test} needs at least {n_test + 1} (division.test)"
        )
    order = row_rng(division.seed, "division", name, 0).permutation(len(pairs)).tolist()
    pieces = [order[first : first + size] for first in range(0, len(order), size)][: division.tasks]
    tasks = []
    for number, piece in enumerate(piece for piece in pieces if len(piece) > n_test):
        chosen = [pair_from_json(pairs[i], f"{place}: pair {i + 1}") for i in piece]
        tasks.append(Task(f"{name}-{number}", tuple(chosen[:-n_test]), tuple(chosen[-n_test:])))
    return tasks
