"""Exhaustive search for short programs that explain a task."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from arc_precision.language.dsl import Ink, Paint
from arc_precision.language.programs import COLOR_TYPES, KEEPS_SHAPE, Program, Step, run_program, same_grid, solves
from arc_precision.tasks.grids import Grid, Pair, Task


def one_step_programs(pairs: tuple[Pair, ...]) -> Iterator[Program]:
    """The programs of one step that turn every input into its output."""
    smallest = min(pairs, key=lambda pair: pair.input.size + pair.output.size)
    for step in _closing_steps(smallest.input, smallest.output):
        if solves((step,), pairs):
            yield (step,)


def shortest_program(task: Task, max_steps: int = 2) -> Program | None:
    """A shortest program of at most `max_steps` steps, one or two, that solves every pair of the task, or None.

    The search may miss a program: colours are taken from the grids before a step and from the outputs alone. First
    steps that do the same to every train input are tried once.
    """
    train = sorted(task.train, key=lambda pair: pair.input.size + pair.output.size)
    for program in one_step_programs(tuple(train)):
        if solves(program, task.test):
            return program
    if max_steps == 1:
        return None
    inputs, paints = [pair.input for pair in train], _colors(*(pair.output for pair in train))
    for step, outputs in _distinct_steps(inputs, paints):
        for second in _closing_steps(outputs[0], train[0].output):
            if solves((step, second), task.pairs):
                return step, second
    return None


def _colors(*grids: Grid) -> frozenset[int]:
    return frozenset(np.unique(np.concatenate([grid.ravel() for grid in grids])).tolist()) - {0}


def _steps(shown: frozenset[int], paints: frozenset[int]) -> list[Step]:
    """Every step whose colours to read are background or `shown`, and whose colours to draw with are `paints`."""
    steps = []
    for name, kinds in COLOR_TYPES.items():
        choices = [paints if kind is Paint else shown if kind is Ink else shown | {0} for kind in kinds]
        colorings = product(*map(sorted, choices))
        if kinds == (Ink, Ink):  # an exchange: the order does not matter
            colorings = ((first, second) for first, second in colorings if first < second)
        steps += [(name, colors) for colors in colorings]
    return steps


def _distinct_steps(inputs: list[Grid], paints: frozenset[int]) -> list[tuple[Step, list[Grid]]]:
    """The steps that apply to every input and change at least one, with their outputs; one step per distinct
    outputs."""
    seen = {_key(inputs)}
    distinct = []
    for step in _steps(_colors(*inputs), paints):
        outputs = []
        for grid in inputs:
            output = run_program((step,), grid)
            if output is None:
                break
            outputs.append(output)
        else:
            key = _key(outputs)
            if key not in seen:
                seen.add(key)
                distinct.append((step, outputs))
    return distinct


def _key(grids: list[Grid]) -> tuple[tuple[tuple[int, ...], bytes], ...]:
    return tuple((grid.shape, grid.tobytes()) for grid in grids)


def _closing_steps(grid: Grid, target: Grid) -> Iterator[Step]:
    """The steps that turn the grid into the target."""
    shown, wanted = _colors(grid), _colors(target)
    missing = wanted - shown
    if len(missing) > 1:  # a step draws with at most one colour
        return
    keeps_shape = grid.shape == target.shape
    for name, colors in _steps(shown, missing or wanted):
        possible = (keeps_shape or name not in KEEPS_SHAPE) and (not missing or Paint in COLOR_TYPES[name])
        if possible and same_grid(run_program(((name, colors),), grid), target):
            yield name, colors
