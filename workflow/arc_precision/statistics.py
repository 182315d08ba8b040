"""The time until runs collapse or fail: survival curves and the log-rank test of a few runs.

The unit of replication is the seed. If the data allow no conclusion, a function returns its result with `reason` set
and with missing numbers (None) instead of misleading ones. Intervals over seeds and tasks are in
`arc_precision.report.intervals`.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

import numpy as np
import pandas as pd
from scipy import stats

N_PERMUTATIONS = 999  # enough for every split of two arms of six runs: 924


@dataclass(frozen=True)
class LogRank:
    """A two-sided log-rank test: p-value by permutation, and by the normal approximation (`p_asymptotic`).

    `p_smallest` is the smallest p-value over all ways to deal the same steps to the arms. If it is not below the level,
    the test cannot show a difference.
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


def stratified_log_rank(
    strata: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], seed: int = 0
) -> LogRank:
    """Log-rank test of two groups of runs within strata: each run is compared only with runs of its own stratum.

    Args:
        strata: the arguments of `log_rank` for each.
        seed: of the permutations.

    The statistic is observed less expected collapses of group a, over all strata, divided by its standard deviation
    under random dealing of each stratum's runs to the groups (Peto and Peto, 1972). It is positive where a collapses
    earlier. The p-value is that of the permutation test, over all ways to deal or a random `N_PERMUTATIONS`.
    """
    parts = [part for part in map(_log_rank_scores, strata) if 0 < part[1] < len(part[0])]
    if sum(len(scores) for scores, _ in parts) < 4:
        return _no_test("fewer than four runs that can be compared: nothing can be concluded")
    variance = sum(
        n_a * (len(scores) - n_a) / (len(scores) * (len(scores) - 1)) * np.square(scores).sum() for scores, n_a in parts
    )
    if variance == 0:
        return _no_test("nothing to compare: no run collapsed, or all runs of each stratum at one step")
    observed = sum(scores[:n_a].sum() for scores, n_a in parts)
    exact = prod(comb(len(scores), n_a) for scores, n_a in parts) <= N_PERMUTATIONS
    if exact:
        every = np.zeros(1)
        for scores, n_a in parts:
            every = np.add.outer(every, [scores[list(dealt)].sum() for dealt in combinations(range(len(scores)), n_a)])
    else:
        rng = np.random.default_rng(seed)
        every = sum(rng.permuted(np.tile(s, (N_PERMUTATIONS, 1)), axis=1)[:, :n_a].sum(axis=1) for s, n_a in parts)
        every = np.append(every, observed)
    sizes = np.abs(every).ravel()
    p_value, p_smallest = (np.mean(sizes >= size * (1 - 1e-9)) for size in (abs(observed), sizes.max()))
    statistic = observed / np.sqrt(variance)
    return LogRank(float(statistic), float(p_value), float(p_smallest), float(2 * stats.norm.sf(abs(statistic))))


def _log_rank_scores(stratum: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, int]:
    """The score of each run, group a first: 1 if it collapsed, less the hazard until its end. And the size of group
    a."""
    steps_a, collapsed_a, steps_b, collapsed_b = map(np.asarray, stratum)
    steps, collapsed = np.concatenate([steps_a, steps_b]), np.concatenate([collapsed_a, collapsed_b]).astype(bool)
    event_steps, counts = np.unique(steps[collapsed], return_counts=True)
    at_risk = (steps >= event_steps[:, None]).sum(axis=1)
    return collapsed - ((steps[:, None] >= event_steps) * (counts / at_risk)).sum(axis=1), len(steps_a)


def _no_test(reason: str) -> LogRank:
    return LogRank(None, None, None, None, reason)


def _censored(steps: np.ndarray, collapsed: np.ndarray) -> stats.CensoredData:
    return stats.CensoredData(uncensored=steps[collapsed], right=steps[~collapsed])


def _too_few(seeds: int) -> str:
    return (
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} in an arm: nothing can be concluded about arms from fewer than 2"
    )
