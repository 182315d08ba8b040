"""The level of a series at every step, its best level so far, and a test whether the fall is more than chance."""

import numpy as np
import pandas as pd
from pandas.api.indexers import BaseIndexer
from scipy.stats import norm, t

from arc_precision.config.collapse import CollapseConfig

# Windows are ranked by their mean less so many standard errors: the mean of few values is easily high by chance.
BEST_LESS_STANDARD_ERRORS = 2.0
FEW_VALUES = 40


def new_values(*series: np.ndarray) -> np.ndarray:
    """1.0 where a step differs from the one before it in any series, else 0.0.

    A step that repeats all of them may have the same completions, and says nothing new.
    """
    same = np.logical_and.reduce([np.diff(values) == 0 for values in series])
    return np.concatenate([[1.0], ~same])


class Levels:
    """A series in which high is good: at every step its level now, and its best level so far.

    `values`, `now` and `best` have shape (steps,). `now` is the trailing mean over `window` values. `best` is the mean
    of the best window so far of at most `smoothing_steps`, and of at least `min_steps` values that are `new` (see
    `new_values`); -inf before there is one.
    """

    def __init__(self, values: np.ndarray, new: np.ndarray, window: np.ndarray, config: CollapseConfig) -> None:
        self.values = values
        self.now = _trailing(values, window).mean().to_numpy()
        self._window = window
        self._standard_errors = config.min_drop_standard_errors
        number = np.arange(1, len(values) + 1)
        self._length = np.minimum(number, config.smoothing_steps)
        windows = _trailing(values, self._length)
        mean = windows.mean().to_numpy()
        new = _trailing(new, self._length).sum().round().to_numpy()
        # No batch is used so often that it fills a whole window, so a full window with at most one new value is a
        # constant.
        self._new = np.where((new <= 1) & (number >= config.smoothing_steps), config.smoothing_steps, new)
        bound = mean - BEST_LESS_STANDARD_ERRORS * windows.std(ddof=0).to_numpy() / np.sqrt(self._new.clip(1))
        bound = np.where(self._new >= min(config.min_steps, config.smoothing_steps), bound, -np.inf)
        is_best = bound > np.concatenate([[-np.inf], np.maximum.accumulate(bound)[:-1]])
        self._at = np.maximum.accumulate(np.where(is_best, number - 1, 0))
        self.best = np.where(np.maximum.accumulate(is_best), mean[self._at], -np.inf)

    def has_crossed(self, limit: float) -> np.ndarray:
        """Whether the series is below a limit, and has not always been: a series that was bad from the start has not
        collapsed."""
        return (self.now < limit) & (self.best >= limit)

    def dropped(self, at: int) -> bool:
        """Whether the window that ends at an index lies below the best one by more than chance.

        The test is the rank-sum test (Mann and Whitney 1947), or with few values t with pooled variance, because ranks
        of few values can hardly be improbable. A value that says nothing new does not count.
        """
        before = self.values[self.first_of_best(at) : self._at[at] + 1]
        after = self.values[at - self._window[at] + 1 : at + 1]
        statistic = _rank_sum if len(before) + len(after) >= FEW_VALUES else _pooled_t
        return statistic(before, after, self._new[self._at[at]] / len(before)) > self._standard_errors

    def first_of_best(self, at: int) -> int:
        """Index of the first value of the best window, as known at an index."""
        return int(self._at[at] - self._length[self._at[at]] + 1)


class _Windows(BaseIndexer):
    """Trailing windows of given lengths, one per value."""

    def get_window_bounds(self, num_values=0, min_periods=None, center=None, closed=None, step=None):
        end = np.arange(1, num_values + 1, dtype=np.int64)
        return end - self.lengths, end


def _trailing(values: np.ndarray, lengths: np.ndarray):
    return pd.Series(values).rolling(_Windows(lengths=np.asarray(lengths, dtype=np.int64)), min_periods=1)


def _rank_sum(before: np.ndarray, after: np.ndarray, new_share: float) -> float:
    """How far `before` lies above `after`, in standard errors: z of the rank sum, with ties."""
    n, m = len(before), len(after)
    _, place, ties = np.unique(np.concatenate([before, after]), return_inverse=True, return_counts=True)
    ranks = np.cumsum(ties) - (ties - 1) / 2
    variance = n * m / 12 * (n + m + 1 - (ties**3 - ties).sum() / ((n + m) * (n + m - 1)))
    excess = ranks[place[:n]].sum() - n * (n + m + 1) / 2
    return excess / np.sqrt(variance / new_share) if excess > 0 else 0.0


def _pooled_t(before: np.ndarray, after: np.ndarray, new_share: float) -> float:
    """The same by Student's t, as the number of a normal's standard errors that is equally improbable."""
    n, m = len(before) * new_share, len(after) * new_share
    if n + m <= 2 or not before.mean() > after.mean():
        return 0.0
    variance = (n * before.var() + m * after.var()) / (n + m - 2)
    with np.errstate(divide="ignore"):
        return norm.isf(t.sf((before.mean() - after.mean()) / np.sqrt(variance * (1 / n + 1 / m)), n + m - 2))
