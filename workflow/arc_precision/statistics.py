"""What can be concluded from a few seeds: intervals, survival, effect sizes, and how many seeds would be enough.

The unit of replication is the seed. A function that cannot say anything from what it was given returns its result with
`reason` set and the numbers missing (None) instead of numbers that mislead; with one seed nothing can be said about
arms. Everything random takes a `seed` and is deterministic.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.nonparametric import rank_compare_2indep
from statsmodels.stats.power import TTestIndPower, TTestPower

CONFIDENCE = 0.95
N_BOOTSTRAP = 9_999
N_PERMUTATIONS = 999  # enough for every split of two arms of six runs: 924


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval. `reason` says why something is missing."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True)
class LogRank:
    """A two-sided log-rank test: p-value by permutation, and by the normal approximation (`p_asymptotic`)."""

    statistic: float | None
    p_value: float | None
    p_asymptotic: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Survival:
    """A Kaplan-Meier curve, see `kaplan_meier`."""

    curve: pd.DataFrame | None
    reason: str | None = None


@dataclass(frozen=True)
class SeedsNeeded:
    """Seeds per arm."""

    seeds: int | None
    reason: str | None = None


def mean_interval(values: np.ndarray, seed: int = 0) -> Estimate:
    """Mean of `values` (seeds, tasks), such as one point of an evaluation curve, with its interval.

    Two things vary: which tasks were drawn and which seeds. The interval over tasks is a bootstrap (BCa) of the tasks'
    means, that over seeds is Student's t of the seeds' means, and the two half-widths are added in quadrature on either
    side; as each holds a part of the interaction, the result errs on the wide side. (A bootstrap of two or three seeds
    would be far too narrow.) With one seed the interval covers tasks only: it speaks of that run.

    Raises ValueError if `values` is not (seeds, tasks) or not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"values: shape {values.shape} or a value that is not finite; give finite (seeds, tasks).")
    mean = float(values.mean())
    by_task, by_seed = values.mean(axis=0), values.mean(axis=1)
    if np.ptp(by_task) == 0:
        return Estimate(mean, None, None, f"all {by_task.size} tasks have the same value: no interval over tasks")
    tasks = stats.bootstrap(
        (by_task,), np.mean, n_resamples=N_BOOTSTRAP, batch=1_000, confidence_level=CONFIDENCE, rng=seed
    ).confidence_interval
    seeds_half_width = 0.0
    if by_seed.size > 1:
        seeds_half_width = stats.sem(by_seed) * _t_quantile(by_seed.size - 1)
    return Estimate(
        mean,
        mean - math.hypot(mean - tasks.low, seeds_half_width),
        mean + math.hypot(tasks.high - mean, seeds_half_width),
    )


def paired_difference(values_a: np.ndarray, values_b: np.ndarray, seed: int = 0) -> Estimate:
    """Mean difference a - b of two arms at equal steps, with its interval over tasks and seeds (`mean_interval`).

    Both arrays have shape (seeds, tasks), the same seeds and tasks in the same order: the arms are paired in both.
    Raises ValueError if the shapes differ.
    """
    values_a, values_b = np.asarray(values_a, dtype=np.float64), np.asarray(values_b, dtype=np.float64)
    if values_a.shape != values_b.shape:
        raise ValueError(
            f"values_a {values_a.shape} and values_b {values_b.shape} must have one shape: the same seeds and tasks."
        )
    if len(values_a) < 2:
        return Estimate(None, None, None, _too_few(len(values_a)))
    return mean_interval(values_a - values_b, seed)


def kaplan_meier(steps: np.ndarray, collapsed: np.ndarray) -> Survival:
    """Share of an arm's runs not yet collapsed, by step (Kaplan and Meier, 1958).

    `steps` (runs,) is the step of collapse, or the last step of a run that had not collapsed until then (censored);
    `collapsed` (runs,) says which. Columns of the curve: `step` (0, then every step of `steps`), `at_risk` and
    `collapsed` (runs), `survival`, and its log-log interval `low`, `high`, which is NaN where survival is 0 or 1.
    """
    steps, collapsed = np.asarray(steps), np.asarray(collapsed, dtype=bool)
    if len(steps) < 2:
        return Survival(None, _too_few(len(steps)))
    survival = stats.ecdf(_censored(steps, collapsed)).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The confidence interval is undefined at some observations", RuntimeWarning)
        interval = survival.confidence_interval(CONFIDENCE, method="log-log")
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
    `N_PERMUTATIONS` of them where there are more). It cannot fall below the number of arrangements as extreme as the
    best one over their total: two runs against two never give less than 1/3.
    """
    steps = np.concatenate([steps_a, steps_b])
    collapsed = np.concatenate([collapsed_a, collapsed_b]).astype(bool)
    first = len(steps_a)
    if min(first, len(steps) - first) < 2:
        return LogRank(None, None, None, _too_few(min(first, len(steps) - first)))
    if not collapsed.any():
        return LogRank(None, None, None, "no run of either arm collapsed: there are no steps to collapse to compare")

    def test(runs_a: np.ndarray, runs_b: np.ndarray):
        in_a, in_b = runs_a.astype(int), runs_b.astype(int)
        with np.errstate(invalid="ignore"):  # 0 / 0 where at every collapse all runs at risk are of one arm
            return stats.logrank(_censored(steps[in_a], collapsed[in_a]), _censored(steps[in_b], collapsed[in_b]))

    runs = np.arange(len(steps))
    observed = test(runs[:first], runs[first:])
    if np.isnan(observed.statistic):
        return LogRank(None, None, None, "at every collapse only runs of one arm were still going: nothing to compare")
    permuted = stats.permutation_test(
        (runs[:first], runs[first:]),
        lambda runs_a, runs_b: np.nan_to_num(abs(test(runs_a, runs_b).statistic)),
        permutation_type="independent",
        alternative="greater",
        n_resamples=N_PERMUTATIONS,
        vectorized=False,
        rng=seed,
    )
    return LogRank(float(observed.statistic), float(permuted.pvalue), float(observed.pvalue))


def hedges_g(values_a: np.ndarray, values_b: np.ndarray) -> Estimate:
    """Standardised mean difference a - b of two arms, one value per seed, corrected for few seeds (Hedges, 1981).

    The interval uses Student's t with n_a + n_b - 2 degrees of freedom.
    """
    values_a, values_b = np.asarray(values_a, dtype=np.float64), np.asarray(values_b, dtype=np.float64)
    count_a, count_b = len(values_a), len(values_b)
    if min(count_a, count_b) < 2:
        return Estimate(None, None, None, _too_few(min(count_a, count_b)))
    deviation_a, deviation_b = values_a.std(ddof=1), values_b.std(ddof=1)
    if deviation_a == deviation_b == 0:
        return Estimate(None, None, None, "no spread between the seeds of either arm: the effect has no scale")
    effect, variance = effectsize_smd(values_a.mean(), deviation_a, count_a, values_b.mean(), deviation_b, count_b)
    half_width = _t_quantile(count_a + count_b - 2) * math.sqrt(variance)
    return Estimate(float(effect), float(effect - half_width), float(effect + half_width))


def cliffs_delta(values_a: np.ndarray, values_b: np.ndarray) -> Estimate:
    """P(a > b) - P(a < b) for values of two arms, one per seed (Cliff, 1993): 1 if every a is above every b.

    Interval after Brunner and Munzel (2000), within [-1, 1].
    """
    values_a, values_b = np.asarray(values_a, dtype=np.float64), np.asarray(values_b, dtype=np.float64)
    if min(len(values_a), len(values_b)) < 2:
        return Estimate(None, None, None, _too_few(min(len(values_a), len(values_b))))
    delta = float(np.sign(values_a[:, None] - values_b[None, :]).mean())
    if abs(delta) == 1 or (np.ptp(values_a) == 0 and np.ptp(values_b) == 0):
        reason = "no value of one arm lies among those of the other: the formula gives no interval"
        return Estimate(delta, None, None, reason)
    low, high = rank_compare_2indep(values_a, values_b).conf_int(alpha=1 - CONFIDENCE)
    return Estimate(delta, max(2 * float(low) - 1, -1.0), min(2 * float(high) - 1, 1.0))


def seeds_needed(
    effect_size: float, paired: bool = False, power: float = 0.8, significance: float = 0.05
) -> SeedsNeeded:
    """Smallest number of seeds per arm with which a two-sided t-test sees an effect of this size with this power.

    `effect_size` is in standard deviations: between the seeds of an arm (Hedges' g), or, if `paired`, of the
    differences between the arms within a seed.
    """
    if effect_size == 0:
        return SeedsNeeded(None, "no number of seeds shows an effect of 0")
    size = min(abs(effect_size), 8.0)  # three seeds show 8; far above, the noncentral t distribution overflows
    test = TTestPower() if paired else TTestIndPower()
    for seeds in range(2, 10):  # where so few suffice the solver does not always converge
        if test.power(size, seeds, significance) >= power:
            return SeedsNeeded(seeds)
    return SeedsNeeded(math.ceil(test.solve_power(effect_size=size, alpha=significance, power=power)))


def _censored(steps: np.ndarray, collapsed: np.ndarray) -> stats.CensoredData:
    return stats.CensoredData(uncensored=steps[collapsed], right=steps[~collapsed])


def _t_quantile(degrees_of_freedom: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom))


def _too_few(seeds: int) -> str:
    return (
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} in an arm: nothing can be concluded about arms from fewer than 2"
    )
