"""Intervals, survival, effect sizes and power: against numbers by hand, and by how often they are right."""

import numpy as np
import pytest
from scipy.stats import ttest_ind
from statsmodels.duration.survfunc import SurvfuncRight

from arc_precision.statistics import (
    cliffs_delta,
    hedges_g,
    kaplan_meier,
    log_rank,
    mean_interval,
    paired_difference,
    seeds_needed,
)

# --- intervals -------------------------------------------------------------------------------------------------------


def crossed(rng, seeds, tasks, seed_sd, task_sd, rest_sd, mean=0.0):
    """Values (seeds, tasks) with effects of seed, task and both."""
    return (
        mean
        + seed_sd * rng.normal(size=(seeds, 1))
        + task_sd * rng.normal(size=(1, tasks))
        + rest_sd * rng.normal(size=(seeds, tasks))
    )


def test_mean_of_one_run_has_the_interval_over_tasks():
    values = np.repeat([0.0, 1.0], [70, 30])[None]
    estimate = mean_interval(values)
    assert estimate.value == pytest.approx(0.3)
    # Normal approximation: 1.96 * sqrt(0.3 * 0.7 / 100) = 0.09
    assert estimate.low == pytest.approx(0.21, abs=0.015)
    assert estimate.high == pytest.approx(0.39, abs=0.015)
    assert estimate.reason is None


def test_seeds_add_in_quadrature():
    """Seed means 0.2 and 0.4: Student's t with one degree of freedom, 12.706 * 0.1 = 1.27."""
    values = np.array([[0.1, 0.3] * 30, [0.3, 0.5] * 30])
    estimate = mean_interval(values)
    over_tasks = mean_interval(values.mean(axis=0, keepdims=True))
    half_width = np.hypot(over_tasks.high - over_tasks.value, 12.706 * 0.1)
    assert estimate.value == pytest.approx(0.3)
    assert estimate.high == pytest.approx(0.3 + half_width, rel=1e-3)
    assert estimate.low < over_tasks.low < over_tasks.high < estimate.high


@pytest.mark.parametrize("seeds", [2, 3, 8])
@pytest.mark.parametrize("seed_sd", [0.0, 0.1])
def test_intervals_cover_the_truth(seeds, seed_sd, monkeypatch):
    monkeypatch.setattr("arc_precision.statistics.N_BOOTSTRAP", 299)
    rng = np.random.default_rng(seeds)
    covered = 0
    for i in range(120):
        estimate = mean_interval(crossed(rng, seeds, 50, seed_sd, 0.3, 0.2), seed=i)
        covered += estimate.low <= 0 <= estimate.high
    assert covered / 120 >= 0.9


def test_a_bootstrap_is_deterministic_and_follows_its_seed():
    values = crossed(np.random.default_rng(0), 3, 40, 0.05, 0.3, 0.2)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_tasks_that_are_all_alike_give_no_interval():
    estimate = mean_interval(np.zeros((2, 60)))
    assert (estimate.value, estimate.low, estimate.high) == (0, None, None)
    assert estimate.reason == "all 60 tasks have the same value: no interval over tasks"


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros((2, 0)), np.array([[0.0, np.nan]])])
def test_values_must_be_finite_and_two_dimensional(values):
    with pytest.raises(ValueError, match=r"give finite \(seeds, tasks\)"):
        mean_interval(values)


def test_pairing_removes_what_the_arms_share():
    """Tasks differ by far more than the arms do; only the paired difference sees the arms."""
    rng = np.random.default_rng(0)
    tasks = rng.uniform(0, 1, (1, 100))
    a, b = (tasks + shift + rng.normal(0, 0.02, (4, 100)) for shift in (0.05, 0.0))
    difference = paired_difference(a, b)
    assert difference.value == pytest.approx(0.05, abs=0.01)
    assert 0 < difference.low < difference.value < difference.high < 0.1
    assert mean_interval(a).low < mean_interval(b).value
    swapped = paired_difference(b, a)
    assert swapped.value == pytest.approx(-difference.value)


def test_one_seed_says_nothing_about_arms():
    one = np.array([[0.0, 1.0, 1.0]])
    estimate = paired_difference(one, 1 - one)
    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
    assert estimate.reason == "1 seed in an arm: nothing can be concluded about arms from fewer than 2"


def test_arms_must_have_the_same_seeds_and_tasks():
    with pytest.raises(ValueError, match=r"values_a \(2, 3\) and values_b \(2, 4\)"):
        paired_difference(np.zeros((2, 3)), np.zeros((2, 4)))


# --- survival --------------------------------------------------------------------------------------------------------

STEPS = np.array([100, 200, 200, 300, 400])
COLLAPSED = np.array([True, True, False, True, False])


@pytest.mark.filterwarnings("error")
def test_kaplan_meier_by_hand():
    """4/5 after 100; times 3/4 after 200, where one run is censored; times 1/2 after 300; 400 is censored."""
    curve = kaplan_meier(STEPS, COLLAPSED).curve
    assert curve["step"].tolist() == [0, 100, 200, 300, 400]
    assert curve["at_risk"].tolist() == [5, 5, 4, 2, 1]
    assert curve["collapsed"].tolist() == [0, 1, 1, 1, 0]
    assert curve["survival"].tolist() == pytest.approx([1, 0.8, 0.6, 0.3, 0.3])


def test_kaplan_meier_interval_by_hand():
    """Greenwood at 200: 1/(5*4) + 1/(4*3) = 2/15; log-log: 0.6 ** exp(+-1.96 * sqrt(2/15) / |ln 0.6|)."""
    row = kaplan_meier(STEPS, COLLAPSED).curve.iloc[2]
    exponent = np.exp(1.959964 * np.sqrt(2 / 15) / abs(np.log(0.6)))
    assert row["low"] == pytest.approx(0.6**exponent, rel=1e-5)
    assert row["high"] == pytest.approx(0.6 ** (1 / exponent), rel=1e-5)


def test_kaplan_meier_agrees_with_another_implementation():
    rng = np.random.default_rng(0)
    steps, collapsed = rng.integers(1, 30, 40), rng.random(40) < 0.6
    curve = kaplan_meier(steps, collapsed).curve
    other = SurvfuncRight(steps, collapsed)
    ours = curve[curve["collapsed"] > 0].set_index("step")
    np.testing.assert_allclose(ours.loc[other.surv_times, "survival"], other.surv_prob)
    np.testing.assert_array_equal(ours.loc[other.surv_times, "at_risk"], other.n_risk)


@pytest.mark.filterwarnings("error")
def test_where_nothing_collapses_everything_survives():
    curve = kaplan_meier([50, 50], [False, False]).curve
    assert curve["survival"].tolist() == [1, 1]
    assert curve[["low", "high"]].isna().all(axis=None)


def test_one_run_has_no_survival_curve():
    survival = kaplan_meier([50], [True])
    assert survival.curve is None
    assert survival.reason.startswith("1 seed in an arm")


def test_log_rank_by_hand():
    """Arm a collapses at 1 and 2, arm b at 3 and 4.

    Expected collapses of a: 2/4 + 1/3 = 5/6; variance 1/4 + 2/9 = 17/36. z = (2 - 5/6) / sqrt(17/36). Of the six ways
    to deal the runs, two are as extreme.
    """
    result = log_rank([1, 2], [True, True], [3, 4], [True, True])
    assert abs(result.statistic) == pytest.approx((7 / 6) / np.sqrt(17 / 36))
    assert result.p_asymptotic == pytest.approx(0.0896, abs=1e-3)
    assert result.p_value == pytest.approx(2 / 6)


def test_log_rank_is_positive_where_the_first_arm_collapses_earlier():
    early, late = [1, 2, 3], [10, 11, 12]
    yes = [True] * 3
    assert log_rank(early, yes, late, yes).statistic > 0 > log_rank(late, yes, early, yes).statistic


def test_log_rank_sees_a_difference_and_respects_censoring():
    early, late = [100, 120, 140, 160, 180], [900, 950, 1000, 1000, 1000]
    result = log_rank(early, [True] * 5, late, [True, True, False, False, False])
    assert result.p_value == pytest.approx(2 / 252, abs=1e-6)
    # Were most of the early ones only cut short, there would be little to see.
    assert log_rank(early, [True] + [False] * 4, late, [True, True, False, False, False]).p_value > 0.2


def test_under_equality_p_values_are_not_small_too_often():
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(40):
        steps = rng.integers(1, 1000, 6)
        p_values.append(log_rank(steps[:3], [True] * 3, steps[3:], [True] * 3, seed).p_value)
    assert np.mean(np.array(p_values) <= 0.1) <= 0.25
    assert min(p_values) >= 2 / 20 - 1e-9


@pytest.mark.filterwarnings("error")
def test_log_rank_says_when_it_cannot_conclude():
    result = log_rank([1, 2], [False, False], [8, 9], [True, True])
    assert result.p_value is None
    assert result.reason.startswith("at every collapse only runs of one arm were still going")
    assert log_rank([1], [True], [2], [True]).reason.startswith("1 seed in an arm")
    result = log_rank([5, 5], [False] * 2, [5, 5], [False] * 2)
    assert (result.statistic, result.p_value) == (None, None)
    assert result.reason.startswith("no run of either arm collapsed")


# --- effect sizes and power ------------------------------------------------------------------------------------------


def test_hedges_g_by_hand():
    """Means 3 and 1, both deviations 1, three seeds each: d = 2, corrected by 1 - 3/(4*4 - 1) = 0.8 to 1.6."""
    estimate = hedges_g([2, 3, 4], [0, 1, 2])
    assert estimate.value == pytest.approx(1.6)
    assert estimate.low < 1.6 < estimate.high
    assert estimate.value - estimate.low == pytest.approx(estimate.high - estimate.value)
    assert hedges_g([0, 1, 2], [2, 3, 4]).value == pytest.approx(-1.6)


def test_hedges_g_covers_the_truth():
    rng = np.random.default_rng(0)
    estimates = [hedges_g(rng.normal(1, 1, 5), rng.normal(0, 1, 5)) for _ in range(400)]
    assert np.mean([estimate.low <= 1 <= estimate.high for estimate in estimates]) >= 0.93
    assert np.mean([estimate.value for estimate in estimates]) == pytest.approx(1, abs=0.1)


def test_cliffs_delta_by_hand():
    """Of the 9 pairs of (1, 3, 5) and (2, 3, 4) four are above and four below; with 6 for 5 nothing changes."""
    assert cliffs_delta([1, 3, 5], [2, 3, 4]).value == 0
    estimate = cliffs_delta([2, 3, 6], [1, 3, 4])
    assert estimate.value == pytest.approx((5 - 3) / 9)
    assert -1 <= estimate.low < estimate.value < estimate.high <= 1


def test_cliffs_delta_swaps_with_its_arms_and_its_interval_covers_the_truth():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        a, b = rng.normal(0.5, 1, 10), rng.normal(0, 1, 10)
        there, back = cliffs_delta(a, b), cliffs_delta(b, a)
        assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
        # P(a > b) = Phi(0.5 / sqrt(2)) = 0.638
        covered += there.low <= 2 * 0.638 - 1 <= there.high
    assert covered / 200 >= 0.9


def test_complete_separation_has_a_value_and_no_interval():
    estimate = cliffs_delta([5, 6], [1, 2])
    assert (estimate.value, estimate.low, estimate.high) == (1, None, None)
    assert "no value of one arm lies among those of the other" in estimate.reason


@pytest.mark.parametrize("effect", [hedges_g, cliffs_delta])
def test_effects_need_two_seeds(effect):
    estimate = effect([1.0], [2.0, 3.0])
    assert estimate.value is None
    assert estimate.reason.startswith("1 seed in an arm")


def test_an_effect_without_spread_has_no_scale():
    assert hedges_g([1, 1], [2, 2]).value is None


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 64), (0.8, 26), (-0.8, 26), (1.2, 12), (50, 2)])
def test_seeds_needed_are_those_of_the_textbook(effect, seeds):
    """Cohen (1988): 64 and 26 per arm for effects of 0.5 and 0.8 at 80 % power and 5 % significance."""
    assert seeds_needed(effect).seeds == seeds


def test_seeds_needed_reach_the_power_by_simulation():
    seeds = seeds_needed(1.5).seeds
    rng = np.random.default_rng(0)
    p_values = ttest_ind(rng.normal(1.5, 1, (4000, seeds)), rng.normal(0, 1, (4000, seeds)), axis=1).pvalue
    assert 0.78 <= np.mean(p_values < 0.05) <= 0.88


def test_paired_seeds_need_fewer():
    assert seeds_needed(0.8, paired=True).seeds == 15


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("paired", [False, True])
def test_a_larger_effect_needs_no_more_seeds(paired):
    effects = [0.02, 0.1, 0.5, 0.9, 1.4, 1.5, 2, 3, 5, 8, 10, 1000]
    seeds = [seeds_needed(effect, paired).seeds for effect in effects]
    assert seeds == sorted(seeds, reverse=True)
    assert seeds[-1] <= 3


def test_no_effect_needs_no_number_of_seeds():
    assert seeds_needed(0.0).seeds is None
    assert seeds_needed(0.0).reason
