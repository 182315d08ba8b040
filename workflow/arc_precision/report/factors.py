"""Factors of a grid of arms: main effects and interactions on the primary outcome, and effects on the length of runs.

Every effect is a contrast of arms, taken within each seed and task. So its interval is computed as for any other
difference: over seeds and tasks, and widened so that all effects of a grid hold together.
"""

from collections.abc import Iterator
from itertools import combinations
from math import prod
from typing import Any, get_args

import numpy as np
import pandas as pd

from arc_precision.config.report import ReportConfig, ReportSlice
from arc_precision.contracts.layout import Evaluated
from arc_precision.report.collapses import times
from arc_precision.report.intervals import DIFFERENCE_OF_SHARES, UNBOUNDED, complete
from arc_precision.report.runs import differences
from arc_precision.report.schema import CollapseRun, Effect, Endpoint, Factors, Interval, LevelChange, LevelSurvival
from arc_precision.report.task_scores import TaskScores, compared_step, interval, matrix, seeds_of
from arc_precision.report.written_numbers import PLAIN_METRICS, enumeration
from arc_precision.statistics import stratified_log_rank

Levels = dict[str, dict[str, str]]  # by arm: the level of each factor
Weights = dict[str, float]  # by arm: its weight in a contrast


def factors_section(
    slice: ReportSlice, scored: dict[Evaluated, TaskScores], dtype: str | None, runs: list[CollapseRun]
) -> list[Factors]:
    """One part per grid with two factors or more."""
    grids = {
        name: {arm: levels[arm] for arm in slice.run_arms if arm in levels} for name, levels in slice.grids.items()
    }
    crossed = {name: levels for name, levels in grids.items() if len(next(iter(levels.values()))) > 1}
    return [_factors(slice, name, levels, scored, dtype, runs) for name, levels in crossed.items()]


def _factors(
    slice: ReportSlice,
    name: str,
    levels: Levels,
    scored: dict[Evaluated, TaskScores],
    dtype: str | None,
    runs: list[CollapseRun],
) -> Factors:
    arms, report = list(levels), slice.report
    of_factor = {
        factor: list(dict.fromkeys(levels[arm][factor] for arm in [*_if_in(report.baseline_arm, arms), *arms]))
        for factor in levels[arms[0]]
    }
    whole = prod(map(len, of_factor.values())) == len(arms)
    step = compared_step(scored, arms, report.primary_set, dtype) if dtype else None
    seeds = _common_seeds(scored, arms, step, report.primary_set, dtype) if step is not None else []
    effects = _effects(slice, levels, of_factor, scored, seeds, step, dtype) if whole and seeds else []
    return Factors(
        grid=name,
        levels=of_factor,
        n_arms=len(arms),
        step=step,
        n_seeds=len(seeds),
        effects=effects,
        survival=list(_survival(levels, of_factor, runs, report.seed)) if whole else [],
        limits=_limits(slice.arms, levels, of_factor, whole, len(seeds)),
    )


def _if_in(arm: str, arms: list[str]) -> list[str]:
    return [arm] if arm in arms else []


def _common_seeds(scored: dict[Evaluated, TaskScores], arms: list[str], step: int, name: str, dtype: str) -> list[int]:
    return sorted(set.intersection(*(set(seeds_of(scored, arm, step, name, dtype)) for arm in arms)))


def contrasts(levels: Levels, of_factor: dict[str, list[str]]) -> Iterator[tuple[list[LevelChange], Weights]]:
    """The comparisons and their weights: each level with the reference, then each pair of such changes.

    A main effect is the mean over all combinations of the other factors. An interaction is a difference of differences:
    the effect of one change with the other, less its effect without.
    """
    changes = {
        factor: [LevelChange(factor=factor, level=level, reference=reference) for level in others]
        for factor, (reference, *others) in of_factor.items()
    }
    for factor in of_factor:
        for change in changes[factor]:
            yield [change], _weights(levels, [change])
    for one, other in combinations(of_factor, 2):
        for first in changes[one]:
            for second in changes[other]:
                yield [first, second], _weights(levels, [first, second])


def _weights(levels: Levels, changes: list[LevelChange]) -> Weights:
    signs = {}
    for arm, chosen in levels.items():
        sides = [(chosen[c.factor] == c.level) - (chosen[c.factor] == c.reference) for c in changes]
        signs[arm] = int(np.prod(sides))
    n_of_a_side = sum(sign > 0 for sign in signs.values()) / 2 ** (len(changes) - 1)
    return {arm: sign / n_of_a_side for arm, sign in signs.items() if sign}


def _effects(
    slice: ReportSlice,
    levels: Levels,
    of_factor: dict[str, list[str]],
    scored: dict[Evaluated, TaskScores],
    seeds: list[int],
    step: int,
    dtype: str,
) -> list[Effect]:
    report, metric = slice.report, slice.report.primary_metric
    values = {arm: matrix(scored, arm, seeds, step, report.primary_set, dtype, metric) for arm in levels}
    wanted = list(contrasts(levels, of_factor))
    together = report.model_copy(update={"confidence": 1 - (1 - report.confidence) / len(wanted)})
    return [
        Effect(changes=changes, difference=_contrast(values, weights, len(changes), together))
        for changes, weights in wanted
    ]


def _contrast(values: dict[str, pd.DataFrame], weights: Weights, n_changes: int, report: ReportConfig) -> Interval:
    """The contrast with its interval. For an interaction the interval is computed for its half, which lies in [-1,
    1]."""
    half = 2.0 ** (n_changes - 1)
    frame = sum(weight / half * values[arm] for arm, weight in weights.items())
    if not complete(frame.to_numpy(dtype=float).T).size:
        return Interval(value=None)
    found = interval(frame, report, UNBOUNDED if report.primary_metric in PLAIN_METRICS else DIFFERENCE_OF_SHARES)
    return Interval(**{end: None if at is None else half * at for end, at in found.model_dump().items()})


def _survival(
    levels: Levels, of_factor: dict[str, list[str]], runs: list[CollapseRun], seed: int
) -> Iterator[LevelSurvival]:
    for endpoint in get_args(Endpoint):
        for factor, (reference, *others) in of_factor.items():
            for level in others:
                change = LevelChange(factor=factor, level=level, reference=reference)
                yield _level_survival(levels, change, runs, endpoint, seed)


def _level_survival(
    levels: Levels, change: LevelChange, runs: list[CollapseRun], endpoint: Endpoint, seed: int
) -> LevelSurvival:
    strata: dict[tuple, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for arm, chosen in levels.items():
        rest = tuple(level for factor, level in chosen.items() if factor != change.factor)
        strata.setdefault(rest, {})[chosen[change.factor]] = times(runs, arm, endpoint)
    pairs = [(stratum[change.level], stratum[change.reference]) for stratum in strata.values()]
    test = stratified_log_rank([(*ours, *theirs) for ours, theirs in pairs], seed)
    return LevelSurvival(
        change=change,
        endpoint=endpoint,
        n_runs=sum(len(steps) for (steps, _), _ in pairs),
        n_ended=sum(int(ended.sum()) for (_, ended), _ in pairs),
        reference_n_runs=sum(len(steps) for _, (steps, _) in pairs),
        reference_n_ended=sum(int(ended.sum()) for _, (_, ended) in pairs),
        statistic=test.statistic,
        p_value=test.p_value,
        p_smallest=test.p_smallest,
        reason=test.reason,
    )


def _limits(
    slices: dict[str, dict[str, Any]], levels: Levels, of_factor: dict[str, list[str]], whole: bool, n_seeds: int
) -> list[str]:
    """Sentences about the limits of the design."""
    if not whole:
        every = prod(map(len, of_factor.values()))
        return [f"{len(levels)} of {every} combinations are run, so the factors cannot be told apart."]
    found = []
    if n_seeds == 0:
        found.append("No seed is evaluated in all arms at one step yet.")
    if n_seeds == 1:
        found.append("One seed per arm: intervals cover tasks alone, and what another seed would do is not known.")
    for factor, keys in _keys_of(slices, levels).items():
        if len(keys) > 1:
            found.append(f"{factor} changes {enumeration(keys)} together: what each does alone is not known.")
    found.append(
        "A main effect is a mean over the levels of the other factors that are here; with other levels it may be "
        "another."
    )
    if len(of_factor) > 2:
        found.append("Interactions of three factors or more are not looked at.")
    return found


def _keys_of(slices: dict[str, dict[str, Any]], levels: Levels) -> dict[str, list[str]]:
    """Keys of the configuration that each factor changes."""
    found: dict[str, list[str]] = {}
    for one, other in combinations(levels, 2):
        changed = [factor for factor in levels[one] if levels[one][factor] != levels[other][factor]]
        if len(changed) == 1:
            keys = differences({one: slices[one], other: slices[other]})
            found[changed[0]] = list(dict.fromkeys([*found.get(changed[0], []), *keys]))
    return found
