import numpy as np
import pytest
from scipy import stats

from arc_precision.report.intervals import complete, over_seeds, over_tasks


def drawn(rng: np.random.Generator, of_seeds: float, of_tasks: float, rest: float, shape=(3, 40)) -> np.ndarray:
    """Values with true mean 0 and given standard deviations."""
    n_seeds, n_tasks = shape
    return rng.normal(0, of_seeds, (n_seeds, 1)) + rng.normal(0, of_tasks, (1, n_tasks)) + rng.normal(0, rest, shape)


def test_with_equal_tasks_it_is_students_interval_of_the_seeds():
    seeds = np.array([0.1, 0.2, 0.6])
    found = over_seeds(np.repeat(seeds[:, None], 5, axis=1), 0.9)
    low, high = stats.t.interval(0.9, 2, loc=0.3, scale=stats.sem(seeds))
    assert (found.value, found.low, found.high) == pytest.approx((0.3, low, high), rel=1e-5)


def test_with_equal_seeds_it_is_the_normal_interval_of_the_tasks():
    tasks = np.array([0.0, 0.5, 0.25, 1.0])
    found = over_seeds(np.repeat(tasks[None, :], 3, axis=0), 0.95)
    half = stats.norm.ppf(0.975) * stats.sem(tasks)
    assert (found.low, found.high) == pytest.approx((tasks.mean() - half, tasks.mean() + half), rel=1e-5)


@pytest.mark.parametrize(
    ("of_seeds", "of_tasks", "rest", "n_seeds"), [(0.1, 0.05, 0.1, 2), (0.03, 0.3, 0.3, 3), (0.0, 0.3, 0.0, 2)]
)
def test_it_covers_the_truth_as_often_as_it_says(of_seeds, of_tasks, rest, n_seeds):
    rng = np.random.default_rng(0)
    intervals = [over_seeds(drawn(rng, of_seeds, of_tasks, rest, (n_seeds, 40)), 0.95) for _ in range(400)]
    assert np.mean([interval.low <= 0 <= interval.high for interval in intervals]) > 0.92


def test_an_interval_stays_where_the_mean_can_be():
    found = over_seeds(np.array([[0.0, 0.0], [0.9, 1.0]]), 0.95, bounds=(0.0, 1.0))
    assert (found.low, found.high) == (0.0, 1.0)


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
