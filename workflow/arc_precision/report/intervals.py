"""Intervals of a mean over seeds and tasks, at any level.

Values come as an array (seeds, tasks): every seed is evaluated on the same tasks. A run's seed and the choice of
tasks are two independent sources of chance, and an interval that speaks about a treatment must cover both. A
bootstrap of a handful of seeds is far too narrow, because it never leaves the range of the seeds at hand; Student's t
keeps its level.
"""

import numpy as np
from scipy import stats

from arc_precision.report.schema import Interval

Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-np.inf, np.inf)
SHARE: Bounds = (0.0, 1.0)
DIFFERENCE_OF_SHARES: Bounds = (-1.0, 1.0)


def over_seeds(values: np.ndarray, confidence: float, bounds: Bounds = UNBOUNDED) -> Interval:
    """Mean of `values` (seeds, tasks) with an interval for new seeds and new tasks.

    The half-width is t(seeds - 1) times the standard error of the seeds' means, and z times the standard error that is
    due to tasks, in quadrature; the second is the variance component of tasks in a two-way layout without replication.
    With fewer than two seeds or tasks the ends are missing. The mean cannot lie outside of `bounds`, nor do the ends.
    """
    values = complete(values)
    n_seeds, n_tasks = values.shape
    if n_tasks == 0:
        return Interval(value=None)
    mean = values.mean()
    if n_seeds < 2 or n_tasks < 2:
        return Interval(value=mean)
    of_seed, of_task = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    task_square = n_seeds * of_task.var(ddof=1)
    rest_square = np.square(values - of_seed - of_task + mean).sum() / ((n_seeds - 1) * (n_tasks - 1))
    seed_error = np.sqrt(of_seed.var(ddof=1) / n_seeds)
    task_error = np.sqrt(max(task_square - rest_square, 0.0) / (n_seeds * n_tasks))
    tail = (1 + confidence) / 2
    half = np.hypot(stats.t.ppf(tail, n_seeds - 1) * seed_error, stats.norm.ppf(tail) * task_error)
    return Interval(value=mean, low=max(mean - half, bounds[0]), high=min(mean + half, bounds[1]))


def over_tasks(values: np.ndarray, confidence: float, n_resamples: int, seed: int) -> Interval:
    """Mean of `values` (seeds, tasks) with a bootstrap percentile interval for new tasks, the seeds as they are."""
    values = complete(values)
    n_tasks = values.shape[1]
    if n_tasks == 0:
        return Interval(value=None)
    counts = np.random.default_rng(seed).multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=n_resamples)
    means = counts @ values.mean(axis=0) / n_tasks
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=values.mean(), low=low, high=high)


def complete(values: np.ndarray) -> np.ndarray:
    """The tasks (columns) that every seed has a value for."""
    return values[:, np.isfinite(values).all(axis=0)]
