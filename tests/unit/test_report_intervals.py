import numpy as np
import pytest
from scipy import stats

from arc_precision.report.intervals import (
    DIFFERENCE_OF_SHARES,
    SHARE,
    UNBOUNDED,
    complete,
    detectable,
    over_seeds,
    over_tasks,
)


def drawn(rng: np.random.Generator, of_seeds: float, of_tasks: float, rest: float, shape=(3, 40)) -> np.ndarray:
    """Values with true mean 0 and given standard deviations."""
    n_seeds, n_tasks = shape
    return rng.normal(0, of_seeds, (n_seeds, 1)) + rng.normal(0, of_tasks, (1, n_tasks)) + rng.normal(0, rest, shape)


def test_with_equal_tasks_it_is_students_interval_of_the_seeds():
    seeds = np.array([0.1, 0.2, 0.6])
    found = over_seeds(np.repeat(seeds[:, None], 5, axis=1), 0.9)
    low, high = stats.t.interval(0.9, 2, loc=0.3, scale=stats.sem(seeds))
    assert (found.value, found.low, found.high) == pytest.approx((0.3, low, high), rel=1e-5)


def test_with_equal_seeds_it_is_students_interval_of_the_tasks():
    tasks = np.array([0.0, 0.5, 0.25, 1.0])
    found = over_seeds(np.repeat(tasks[None, :], 3, axis=0), 0.95)
    low, high = stats.t.interval(0.95, 3, loc=tasks.mean(), scale=stats.sem(tasks))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-5)


@pytest.mark.parametrize(
    ("of_seeds", "of_tasks", "rest", "n_seeds"),
    [(0.1, 0.05, 0.1, 2), (0.03, 0.3, 0.3, 3), (0.0, 0.3, 0.1, 2), (0.0, 0.0, 1.0, 10)],
)
def test_it_covers_the_truth_as_often_as_it_says(of_seeds, of_tasks, rest, n_seeds):
    """The last case has noise alone: if it stayed in the tasks' variance, coverage would be 0.995."""
    rng = np.random.default_rng(0)
    intervals = [over_seeds(drawn(rng, of_seeds, of_tasks, rest, (n_seeds, 40)), 0.95) for _ in range(600)]
    assert 0.93 < np.mean([interval.low <= 0 <= interval.high for interval in intervals]) < 0.985


# Few distinct values


@pytest.mark.parametrize("shape", [(2, 60), (3, 60), (5, 400), (2, 4)])
def test_equal_values_do_not_prove_that_the_next_is_equal(shape):
    """The rule of three: with none of n tasks different, up to about 3.7 / n of all tasks may be."""
    n_tasks = shape[1]
    found = over_seeds(np.zeros(shape), 0.95, DIFFERENCE_OF_SHARES)
    assert found.low == -found.high
    assert 2 / n_tasks < found.high <= 4 / n_tasks
    one_seed = over_tasks(np.zeros((1, n_tasks)), 0.95, 500, 0, DIFFERENCE_OF_SHARES)
    assert one_seed.low < 0 < one_seed.high


@pytest.mark.parametrize("n_tasks", [4, 60, 400])
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_none_solved_is_the_exact_binomial_interval_of_the_tasks(n_tasks, n_seeds):
    exact = stats.binomtest(0, n_tasks).proportion_ci(0.95)
    values = np.zeros((n_seeds, n_tasks))
    found = over_seeds(values, 0.95, SHARE) if n_seeds > 1 else over_tasks(values, 0.95, 500, 0, SHARE)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-5)
    mirrored = over_seeds(1 - values, 0.95, SHARE) if n_seeds > 1 else over_tasks(1 - values, 0.95, 500, 0, SHARE)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - exact.high, 1.0), rel=1e-5)


@pytest.mark.parametrize("n_tasks", [5, 60])
def test_tasks_solved_always_or_never_are_a_binomial_sample(n_tasks):
    values = np.zeros((2, n_tasks))
    values[:, : n_tasks // 5] = 1
    exact = stats.binomtest(n_tasks // 5, n_tasks).proportion_ci(0.95)
    found = over_seeds(values, 0.95, SHARE)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-3)


@pytest.mark.parametrize(("n_tasks", "size"), [(60, 0.5), (400, 0.125), (60, 1.0), (12, 1.0)])
def test_a_few_completions_make_no_difference(n_tasks, size):
    """Up to five tasks that differ, all for one arm, alike in every seed: a sign test gives 1/16 at best."""
    for n_different in range(1, 6):
        values = np.zeros((3, n_tasks))
        values[:, :n_different] = size
        found = over_seeds(values, 0.95, DIFFERENCE_OF_SHARES)
        assert found.low < 0 < found.high


def test_one_completion_in_each_of_two_seeds_makes_no_difference():
    values = np.zeros((2, 400))
    values[0, 7] = values[1, 20] = 1 / 8
    found = over_seeds(values, 0.95, DIFFERENCE_OF_SHARES)
    assert found.low < -0.001 < 0.001 < found.high


def test_seeds_with_equal_means_do_not_prove_that_seeds_are_equal():
    """Both seeds have the mean 0.1 by chance; the noise of a single completion says how little that proves."""
    rng = np.random.default_rng(0)
    first = rng.permutation(np.repeat([1.0, -1.0, 0.0], [11, 5, 44]))
    values = np.array([first, rng.permutation(first)])
    found = over_seeds(values, 0.95, DIFFERENCE_OF_SHARES)
    assert found.high - found.low > 3 * stats.sem(values.mean(axis=0))


def test_an_interval_for_new_seeds_is_no_narrower_than_that_for_new_tasks():
    """Both seeds have the mean 0.3, and the tasks vary less than the noise: neither part has a width of its own."""
    values = np.array([[0.0, 0.4, 0.2, 0.6], [0.5, 0.1, 0.6, 0.0]])
    found = over_seeds(values, 0.95)
    low, high = stats.t.interval(0.95, 3, loc=0.3, scale=stats.sem(values.mean(axis=0)))
    assert found.low <= low + 1e-6 and high - 1e-6 <= found.high


def test_many_different_tasks_need_no_floor():
    values = np.repeat(np.random.default_rng(0).choice([-0.5, -0.25, 0.25, 0.5], 100)[None], 3, axis=0)
    found = over_seeds(values, 0.95, DIFFERENCE_OF_SHARES)
    low, high = stats.t.interval(0.95, 99, loc=values.mean(), scale=stats.sem(values[0]))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03 * (high - low))


def test_equal_values_without_bounds_have_no_ends():
    for found in (over_seeds(np.full((3, 9), 7.0), 0.95), over_tasks(np.full((1, 9), 7.0), 0.95, 9, 0, UNBOUNDED)):
        assert (found.value, found.low, found.high) == (7, None, None)


def test_one_task_has_no_ends():
    for found in (over_seeds(np.ones((3, 1)), 0.95, SHARE), over_tasks(np.ones((3, 1)), 0.95, 9, 0, SHARE)):
        assert (found.value, found.low, found.high) == (1, None, None)


def test_an_interval_stays_where_the_mean_can_be():
    found = over_seeds(np.array([[0.0, 0.0], [0.9, 1.0]]), 0.95, bounds=SHARE)
    assert 0 <= found.low < 0.01 and 0.99 < found.high <= 1
    found = over_seeds(np.array([[-1.0, 0.0], [0.9, 1.0]]), 0.95, bounds=DIFFERENCE_OF_SHARES)
    assert (found.low, found.high) == (-1, 1)


@pytest.mark.parametrize("bounds", [SHARE, DIFFERENCE_OF_SHARES])
def test_values_outside_of_their_bounds_are_refused(bounds):
    with pytest.raises(ValueError, match="lie outside of"):
        over_seeds(np.array([[0.0, 1.5], [0.9, 1.0]]), 0.95, bounds=bounds)


# The smallest difference that a design can show


@pytest.mark.parametrize(("of_seeds", "of_tasks", "rest", "n_seeds"), [(0.2, 0.0, 0.1, 5), (0.02, 0.4, 0.1, 5)])
def test_a_detectable_difference_is_found_four_times_in_five(of_seeds, of_tasks, rest, n_seeds):
    rng = np.random.default_rng(0)
    designs = [detectable(drawn(rng, of_seeds, of_tasks, rest, (n_seeds, 60)), 0.95) for _ in range(99)]
    known = np.sqrt(np.mean([design.difference**2 for design in designs]))
    found = [over_seeds(known + drawn(rng, of_seeds, of_tasks, rest, (n_seeds, 60)), 0.95).low > 0 for _ in range(400)]
    assert 0.72 < np.mean(found) < 0.88


def test_a_detectable_difference_does_not_depend_on_the_difference_that_was_seen():
    values = drawn(np.random.default_rng(1), 0.05, 0.1, 0.1)
    first, second = detectable(values, 0.95), detectable(values + 0.3, 0.95)
    assert (first.difference, first.by_tasks) == pytest.approx((second.difference, second.by_tasks))
    assert detectable(values, 0.99).difference > first.difference


def test_what_limits_a_design_is_named():
    rng = np.random.default_rng(2)
    by_seeds, by_tasks = (detectable(drawn(rng, *of, 0.01), 0.95) for of in ((0.2, 0.0), (0.0, 0.4)))
    assert by_seeds.by_seeds > 5 * by_seeds.by_tasks
    assert by_tasks.by_tasks > 5 * by_tasks.by_seeds
    equal = detectable(np.zeros((3, 60)), 0.95, DIFFERENCE_OF_SHARES)
    assert equal.by_tasks == equal.by_seeds == 0 and equal.difference > 0.04
    # No limit that any number of seeds leaves: it falls when more seeds show more tasks that differ.
    rng = np.random.default_rng(3)
    differences = (rng.choice([-0.5, 0.0, 0.5], size=(n, 60), p=[0.02, 0.96, 0.02]) for n in (3, 60))
    few, many = (detectable(values, 0.95, DIFFERENCE_OF_SHARES) for values in differences)
    assert np.hypot(few.by_seeds, few.by_tasks) < few.difference
    assert many.difference < few.difference / 2
    assert detectable(np.zeros((3, 60)), 0.95) is None
    assert detectable(np.zeros((1, 60)), 0.95, DIFFERENCE_OF_SHARES) is None
    assert detectable(np.array([[0.0] * 9, [0.9] * 9]), 0.95, DIFFERENCE_OF_SHARES) is None


def test_one_seed_has_no_interval_over_seeds():
    found = over_seeds(np.ones((1, 5)), 0.95)
    assert (found.value, found.low, found.high) == (1, None, None)


def test_over_tasks_is_reproducible_and_covers_the_tasks_alone():
    values = drawn(np.random.default_rng(1), 0.0, 0.3, 0.0, (1, 60))
    first, second = (over_tasks(values, 0.95, 2000, seed=0) for _ in range(2))
    assert first == second
    half = stats.norm.ppf(0.975) * stats.sem(values[0])
    assert (first.low, first.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.2 * half)


def test_tasks_without_a_value_in_every_seed_are_left_out():
    values = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 5.0]])
    assert complete(values).tolist() == [[1.0, 3.0], [1.0, 5.0]]
    assert over_seeds(np.full((2, 3), np.nan), 0.95).value is None
    assert over_tasks(np.full((2, 3), np.nan), 0.95, 10, 0).value is None
