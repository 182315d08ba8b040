"""Intervals of a mean over seeds and tasks, at any level, and the smallest difference that a design can show.

Values come as an array (seeds, tasks): every seed is evaluated on the same tasks. Seeds and tasks are crossed random
effects, and an interval for a treatment must cover both. A bootstrap of a handful of seeds is far too narrow, because
it never leaves the range of these seeds; Student's t keeps its level.

If only a few tasks differ from the rest, their spread says little about the tasks that were not drawn: sixty equal
values do not prove that the next one is equal. No interval is narrower than its floor, which counts tasks:

- A share has the exact binomial interval of Clopper and Pearson (1934) with an effective sample size, after Korn and
  Graubard (1998), Survey Methodology 24, 193-201.
- A difference has two tasks added, one on either side, after Bonett and Price (2012), J. Educ. Behav. Stat. 37,
  479-488. The size of these two is the root mean square of the tasks that differ, one of the largest possible size
  among them.
- A value without bounds has no largest size. Where all its values are equal, the interval has no ends.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats

from arc_precision.report.schema import Interval

Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-np.inf, np.inf)
SHARE: Bounds = (0.0, 1.0)
DIFFERENCE_OF_SHARES: Bounds = (-1.0, 1.0)
POWER = 0.8


@dataclass(frozen=True)
class Detectable:
    """The smallest true difference that a design finds with a power of `POWER`, and its parts.

    `by_seeds` is due to the number of seeds and would vanish with many; `by_tasks` is due to the number of tasks and
    stays with any number of seeds. Where both in quadrature are less, `difference` is due to the floor of the module.
    All are in the unit of the values.
    """

    difference: float
    by_seeds: float
    by_tasks: float


def over_seeds(values: np.ndarray, confidence: float, bounds: Bounds = UNBOUNDED) -> Interval:
    """Mean of `values` (seeds, tasks) with an interval for new seeds and new tasks.

    The half-width is t(seeds - 1) times the standard error of the seeds' means, and t(tasks - 1) times the standard
    error that is due to tasks, in quadrature. The interval is never narrower than the one for new tasks alone, or than
    the floor of the module. The ends are missing with fewer than two seeds or tasks, and if values without bounds are
    all equal. The ends do not lie outside `bounds`.

    Raises:
        ValueError: a value lies outside of `bounds`.
    """
    values = _checked(values, bounds)
    n_seeds, n_tasks = values.shape
    if n_tasks == 0:
        return Interval(value=None)
    mean = values.mean()
    if n_seeds < 2 or n_tasks < 2:
        return Interval(value=mean)
    seed_error, task_error = _errors(values)
    of_seeds, of_tasks = _t(confidence, n_seeds - 1) * seed_error, _t(confidence, n_tasks - 1) * task_error
    if bounds == SHARE:
        of_tasks = min(of_tasks, _normal(confidence) * np.sqrt(mean * (1 - mean) / n_tasks))  # at most
        worth = _worth(mean, np.hypot(of_seeds, of_tasks), confidence)
        return _share(mean, min(_tasks_worth(values, confidence), worth), confidence)
    half = max(np.hypot(of_seeds, of_tasks), _t(confidence, n_tasks - 1) * stats.sem(values.mean(axis=0)))
    return _hull(mean, half, values, confidence, bounds)


def over_tasks(
    values: np.ndarray, confidence: float, n_resamples: int, seed: int, bounds: Bounds = DIFFERENCE_OF_SHARES
) -> Interval:
    """Mean of `values` (seeds, tasks) with an interval for new tasks, the seeds as they are.

    Each end is that of the bootstrap percentile interval or that of the module's floor, the farther one. Raises as
    `over_seeds`.
    """
    values = _checked(values, bounds)
    n_tasks = values.shape[1]
    if n_tasks == 0:
        return Interval(value=None)
    mean = values.mean()
    if n_tasks < 2:
        return Interval(value=mean)
    if bounds == SHARE:
        floor = _share(mean, _tasks_worth(values, confidence), confidence)
    else:
        half = _t(confidence, n_tasks - 1) * stats.sem(values.mean(axis=0))
        floor = _hull(mean, half, values, confidence, bounds)
    if floor.low is None:
        return floor
    counts = np.random.default_rng(seed).multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=n_resamples)
    low, high = np.quantile(counts @ values.mean(axis=0) / n_tasks, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=mean, low=min(low, floor.low), high=max(high, floor.high))


def detectable(values: np.ndarray, confidence: float, bounds: Bounds = UNBOUNDED) -> Detectable | None:
    """The smallest difference that `over_seeds` can show with seeds and tasks of this number and spread.

    It depends on the spread of `values` (seeds, tasks), a difference between two arms, and not on their mean. The
    spread between seeds counts as at least the noise within them. The result is None with fewer than two seeds or
    tasks, if nothing varies in values without bounds, and if the difference would lie outside `bounds`.
    """
    values = _checked(values, bounds)
    n_seeds, n_tasks = values.shape
    if n_seeds < 2 or n_tasks < 2:
        return None
    seed_error, task_error = _errors(values)
    noise_error = np.sqrt(_rest_square(values) / values.size)
    by_seeds = _shift(confidence, n_seeds - 1) * max(seed_error, noise_error)
    of_task = _shift(confidence, n_tasks - 1)
    by_tasks, floor = of_task * task_error, of_task * _with_two_added(values, bounds)[1]
    difference = max(np.hypot(by_seeds, by_tasks), floor)
    if difference == 0 or difference > bounds[1]:
        return None
    return Detectable(float(difference), float(by_seeds), float(by_tasks))


def complete(values: np.ndarray) -> np.ndarray:
    """The tasks (columns) that every seed has a value for."""
    return values[:, np.isfinite(values).all(axis=0)]


def _checked(values: np.ndarray, bounds: Bounds) -> np.ndarray:
    values = complete(values)
    within = values.clip(*bounds)
    if not np.allclose(values, within, rtol=0, atol=1e-9):  # rounding may carry a sum of shares past the bounds
        raise ValueError(f"values from {values.min()} to {values.max()} lie outside of {bounds}; give other bounds.")
    return within


def _errors(values: np.ndarray) -> tuple[float, float]:
    """Standard errors of the mean: that of the seeds' means, and the part that is due to the choice of tasks.

    The second is the variance component of tasks in a two-way layout without replication: the variance of the tasks'
    means, freed of the noise in them.
    """
    n_seeds, n_tasks = values.shape
    seed_error = np.sqrt(values.mean(axis=1).var(ddof=1) / n_seeds)
    task_square = n_seeds * values.mean(axis=0).var(ddof=1)
    return seed_error, np.sqrt(max(task_square - _rest_square(values), 0.0) / values.size)


def _rest_square(values: np.ndarray) -> float:
    """Mean square of the residuals that neither the seed nor the task explains."""
    n_seeds, n_tasks = values.shape
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    return np.square(rest).sum() / ((n_seeds - 1) * (n_tasks - 1))


def _with_two_added(values: np.ndarray, bounds: Bounds) -> tuple[float, float]:
    """Mean of the tasks and its standard error, two tasks added on either side of their median."""
    of_task = values.mean(axis=0)
    median, largest = np.median(of_task), 0.0 if bounds == UNBOUNDED else 1.0
    away = of_task - median
    n_away = np.count_nonzero(away) + (largest > 0)
    size = np.sqrt((np.square(away).sum() + largest) / max(n_away, 1))
    more = np.append(of_task, [median - size, median + size])
    return more.mean(), more.std() / np.sqrt(more.size)


def _hull(mean: float, half: float, values: np.ndarray, confidence: float, bounds: Bounds) -> Interval:
    """The interval of a mean with this half-width, or its floor where that reaches farther."""
    middle, error = _with_two_added(values, bounds)
    floor = _t(confidence, values.shape[1] - 1) * error
    if half == floor == 0:
        return Interval(value=mean)
    low, high = min(mean - half, middle - floor), max(mean + half, middle + floor)
    return Interval(value=mean, low=max(low, bounds[0]), high=min(high, bounds[1]))


def _tasks_worth(values: np.ndarray, confidence: float) -> float:
    """Effective sample size of a share: the number of independent yes-or-no values that tell as much as these tasks.

    It is the number of tasks if each is solved always or never, and more if the tasks are alike. One task of the first
    kind is added to the real ones.
    """
    of_task = values.mean(axis=0)
    mean, n_tasks = of_task.mean(), of_task.size
    worth = n_tasks * (n_tasks * mean * (1 - mean) + 1) / (n_tasks * of_task.var() + 1)
    return max(n_tasks, worth * (_normal(confidence) / _t(confidence, n_tasks - 1)) ** 2)


def _worth(mean: float, half: float, confidence: float) -> float:
    """Effective sample size of a share whose interval has this half-width."""
    return np.inf if half == 0 else mean * (1 - mean) * (_normal(confidence) / half) ** 2


def _share(mean: float, n_effective: float, confidence: float) -> Interval:
    solved, tail = mean * n_effective, (1 - confidence) / 2
    low = stats.beta.ppf(tail, solved, n_effective - solved + 1) if mean > 0 else 0.0
    high = stats.beta.ppf(1 - tail, solved + 1, n_effective - solved) if mean < 1 else 1.0
    return Interval(value=mean, low=low, high=high)


@cache
def _normal(confidence: float) -> float:
    return stats.norm.ppf((1 + confidence) / 2)


@cache
def _t(confidence: float, degrees: int) -> float:
    return stats.t.ppf((1 + confidence) / 2, degrees)


@cache
def _shift(confidence: float, degrees: int) -> float:
    """True difference, in standard errors, that Student's test finds with a power of `POWER`."""
    critical = _t(confidence, degrees)
    return optimize.brentq(lambda shift: stats.nct.sf(critical, degrees, shift) - POWER, 0, 10 * critical + 10)
