"""Survival curves and the log-rank test: against numbers by hand."""

import numpy as np
import pytest

from arc_precision.statistics import kaplan_meier, log_rank, stratified_log_rank

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


def test_the_level_reaches_the_survival_curve():
    """As above with 1.6449 for 1.96."""
    row = kaplan_meier(STEPS, COLLAPSED, confidence=0.9).curve.iloc[2]
    exponent = np.exp(1.644854 * np.sqrt(2 / 15) / abs(np.log(0.6)))
    assert row["low"] == pytest.approx(0.6**exponent, rel=1e-5)


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


@pytest.mark.parametrize(("n_runs", "p"), [(2, 1 / 3), (3, 1 / 10), (4, 1 / 35), (5, 1 / 126)])
def test_complete_separation_gives_the_smallest_p(n_runs, p):
    """Of the ways to deal the runs, 2 separate them: 2 of 6, of 20, of 70, of 252."""
    result = log_rank(np.arange(n_runs), np.ones(n_runs), np.full(n_runs, 99), np.zeros(n_runs))
    assert result.p_value == result.p_smallest == pytest.approx(p)


def test_one_collapse_among_many_runs_cannot_be_told_from_chance():
    """The first of 8 runs collapses: whichever arm has it, p is 1."""
    result = log_rank([5, 9, 9, 9], [True, False, False, False], [9] * 4, [False] * 4)
    assert result.p_smallest == result.p_value == pytest.approx(1)


def test_the_smallest_p_does_not_depend_on_how_the_runs_were_dealt():
    yes = [True] * 3
    apart, mixed = log_rank([1, 2, 3], yes, [4, 5, 6], yes), log_rank([1, 3, 5], yes, [2, 4, 6], yes)
    assert apart.p_smallest == mixed.p_smallest == pytest.approx(0.1)
    assert mixed.p_value > 0.1


def test_log_rank_is_positive_where_the_first_arm_collapses_earlier():
    early, late = [1, 2, 3], [10, 11, 12]
    yes = [True] * 3
    assert log_rank(early, yes, late, yes).statistic > 0 > log_rank(late, yes, early, yes).statistic


def test_log_rank_sees_a_difference_and_respects_censoring():
    early, late = [100, 120, 140, 160, 180], [900, 950, 1000, 1000, 1000]
    result = log_rank(early, [True] * 5, late, [True, True, False, False, False])
    assert result.p_value == pytest.approx(2 / 252, abs=1e-6)
    # If most of the early runs were only cut short, the test would show little.
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


def test_stratified_log_rank_by_hand():
    """As `test_log_rank_by_hand`: observed less expected 7/6. Scores 3/4, 5/12, -1/12, -13/12: of their squares' sum 3.

    The variance of the sum of two of four scores that add up to 0 is 2 * 2 / (4 * 3) times the sum of their squares.
    """
    yes = [True, True]
    squares = (9**2 + 5**2 + 1**2 + 13**2) / 144
    result = stratified_log_rank([([1, 2], yes, [3, 4], yes)])
    assert result.statistic == pytest.approx((7 / 6) / np.sqrt(squares / 3))
    assert result.p_value == result.p_smallest == pytest.approx(2 / 6)
    twice = stratified_log_rank([([1, 2], yes, [3, 4], yes)] * 2)
    assert twice.statistic == pytest.approx(np.sqrt(2) * result.statistic)
    assert twice.p_value == pytest.approx(2 / 36)


def test_one_stratum_gives_the_p_value_of_the_plain_test():
    rng = np.random.default_rng(3)
    for _ in range(5):
        steps = rng.permutation(100)[:8]
        stratum = steps[:4], np.ones(4), steps[4:], np.ones(4)
        # The plain test divides by another variance, which changes little.
        assert stratified_log_rank([stratum]).p_value == pytest.approx(log_rank(*stratum).p_value, abs=0.1)


def test_a_run_is_compared_with_those_of_its_stratum_alone():
    """In each stratum group a ends earlier. Without strata this would be hidden, because the strata differ more."""
    yes = [True, True, True]
    strata = [([1, 2, 3], yes, [4, 5, 6], yes), ([101, 102, 103], yes, [104, 105, 106], yes)]
    result = stratified_log_rank(strata)
    assert result.statistic > 0 and result.p_value == pytest.approx(2 / 400)
    assert log_rank([1, 2, 3, 101, 102, 103], yes * 2, [4, 5, 6, 104, 105, 106], yes * 2).p_value > 0.1


def test_pairs_with_one_run_each_are_permuted_at_random_where_there_are_many():
    strata = [([step], [True], [step + 50], [False]) for step in range(12)]
    result = stratified_log_rank(strata)
    assert result.p_value == pytest.approx(1 / 1000, abs=2e-3) and result.p_smallest <= result.p_value
    mixed = [stratum if place % 2 else (*stratum[2:], *stratum[:2]) for place, stratum in enumerate(strata)]
    assert stratified_log_rank(mixed).p_value > 0.5


def test_under_equality_stratified_p_values_are_not_small_too_often():
    rng = np.random.default_rng(1)
    p_values = []
    for seed in range(200):
        strata = [
            (rng.integers(1, 99, 3), rng.uniform(size=3) < 0.7, rng.integers(1, 99, 3), rng.uniform(size=3) < 0.7)
            for _ in range(3)
        ]
        p_values.append(stratified_log_rank(strata, seed).p_value)
    assert np.mean(np.array(p_values) <= 0.1) <= 0.15


def test_stratified_log_rank_says_when_it_cannot_conclude():
    assert stratified_log_rank([([1], [True], [2], [True])]).reason.startswith("fewer than four runs")
    assert stratified_log_rank([]).p_value is None
    assert stratified_log_rank([([5, 5], [False] * 2, [5, 5], [False] * 2)]).reason.startswith("nothing to compare")
    assert stratified_log_rank([([5, 6], [True] * 2, [], [])]).p_value is None
