"""How long runs last until they collapse or fail: survival curves and the log-rank test of a few runs.

The unit of replication is the seed. A function that cannot say anything from what it was given returns its result with
`reason` set and the numbers missing (None) instead of numbers that mislead. Intervals over seeds and tasks are in
`arc_precision.report.intervals`.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

N_PERMUTATIONS = 999  # enough for every split of two arms of six runs: 924


@dataclass(frozen=True)
class LogRank:
    """A two-sided log-rank test: p-value by permutation, and by the normal approximation (`p_asymptotic`).

    `p_smallest` is the smallest p-value that the same steps give however they are dealt to the arms. Where it is not
    below the level, the test cannot show a difference.
    """

    statistic: float | None
    p_value: float | None
    p_smallest: float | None
    p_asymptotic: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Survival:
    """A Kaplan-Meier curve, see `kaplan_meier`."""

    curve: pd.DataFrame | None
    reason: str | None = None


def kaplan_meier(steps: np.ndarray, collapsed: np.ndarray, confidence: float = 0.95) -> Survival:
    """Share of an arm's runs not yet collapsed, by step (Kaplan and Meier, 1958).

    `steps` (runs,) is the step of collapse, or the last step of a run that had not collapsed until then (censored);
    `collapsed` (runs,) says which. Any other end of a run may stand for its collapse. Columns of the curve: `step` (0,
    then every step of `steps`), `at_risk` and `collapsed` (runs), `survival`, and its log-log interval at the level
    `confidence`, `low` and `high`, which is NaN where survival is 0 or 1.
    """
    steps, collapsed = np.asarray(steps), np.asarray(collapsed, dtype=bool)
    if len(steps) < 2:
        return Survival(None, _too_few(len(steps)))
    survival = stats.ecdf(_censored(steps, collapsed)).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The confidence interval is undefined at some observations", RuntimeWarning)
        interval = survival.confidence_interval(confidence, method="log-log")
    event_steps = survival.quantiles
    curve = pd.DataFrame(
        {
            "step": np.concatenate([[0], event_steps]).astype(int),
            "at_risk": [len(steps), *((steps >= step).sum() for step in event_steps)],
            "collapsed": [0, *((collapsed & (steps == step)).sum() for step in event_steps)],
            "survival": np.concatenate([[1.0], survival.probabilities]),
            "low": np.concatenate([[np.nan], interval.low.probabilities]),
            "high": np.concatenate([[np.nan], interval.high.probabilities]),
        }
    )
    return Survival(curve)


def log_rank(
    steps_a: np.ndarray, collapsed_a: np.ndarray, steps_b: np.ndarray, collapsed_b: np.ndarray, seed: int = 0
) -> LogRank:
    """Log-rank test of the steps to collapse of two arms; arguments as for `kaplan_meier`.

    The statistic is positive where arm a collapses earlier. With a handful of runs the normal approximation does not
    hold, so the p-value is that of the permutation test over all ways to deal the runs to the arms (a random
    `N_PERMUTATIONS` of them where there are more). Two runs against two never give less than 1/3, three against three
    never less than 1/10.
    """
    steps = np.concatenate([steps_a, steps_b])
    collapsed = np.concatenate([collapsed_a, collapsed_b]).astype(bool)
    first = len(steps_a)
    if min(first, len(steps) - first) < 2:
        return _no_test(_too_few(min(first, len(steps) - first)))
    if not collapsed.any():
        return _no_test("no run of either arm collapsed: there are no steps to collapse to compare")

    def test(runs_a: np.ndarray, runs_b: np.ndarray):
        in_a, in_b = runs_a.astype(int), runs_b.astype(int)
        with np.errstate(invalid="ignore"):  # 0 / 0 where at every collapse all runs at risk are of one arm
            return stats.logrank(_censored(steps[in_a], collapsed[in_a]), _censored(steps[in_b], collapsed[in_b]))

    runs = np.arange(len(steps))
    observed = test(runs[:first], runs[first:])
    if np.isnan(observed.statistic):
        return _no_test("at every collapse only runs of one arm were still going: nothing to compare")
    permuted = stats.permutation_test(
        (runs[:first], runs[first:]),
        lambda runs_a, runs_b: np.nan_to_num(abs(test(runs_a, runs_b).statistic)),
        permutation_type="independent",
        alternative="greater",
        n_resamples=N_PERMUTATIONS,
        vectorized=False,
        rng=seed,
    )
    every = permuted.null_distribution
    p_smallest = np.mean(every >= every.max() * (1 - 1e-9))
    return LogRank(
        float(observed.statistic),
        float(permuted.pvalue),
        min(float(p_smallest), float(permuted.pvalue)),
        float(observed.pvalue),
    )


def _no_test(reason: str) -> LogRank:
    return LogRank(None, None, None, None, reason)


def _censored(steps: np.ndarray, collapsed: np.ndarray) -> stats.CensoredData:
    return stats.CensoredData(uncensored=steps[collapsed], right=steps[~collapsed])


def _too_few(seeds: int) -> str:
    return (
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} in an arm: nothing can be concluded about arms from fewer than 2"
    )
