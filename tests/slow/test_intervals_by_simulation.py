"""The verdict's rate of false differences, and the share of its intervals that hold the true difference.

Arms share their tasks, seeds are paired, and completions are drawn one by one. A seed shifts the log-odds of every
task. Tasks are alike, or as unlike as they can be: most never solved, a few nearly always.

    pytest tests/slow/test_intervals_by_simulation.py -s      # prints the table; 3 minutes
"""

import numpy as np
import pytest
from scipy.special import expit, logit

from arc_precision.report.intervals import DIFFERENCE_OF_SHARES, SHARE, detectable, over_seeds
from arc_precision.report.verdict import outcome_of

REPEATS = 800
# If mainly the seeds vary, the level is exact: 5 % of repeats, within three standard errors.
SLACK = 3 * np.sqrt(0.05 * 0.95 / REPEATS)
DESIGNS = [(n_seeds, *size) for n_seeds in (2, 3, 5) for size in ((60, 2), (400, 8))]


def chances(rng, n_seeds: int, tasks: np.ndarray, seed_sd: float, gain: np.ndarray | float = 0.0) -> np.ndarray:
    """Chance (seeds, tasks) that a completion of an arm solves a task."""
    return expit(logit(tasks) + gain + rng.normal(0, seed_sd, (n_seeds, 1)))


def tasks_of(rng, n_tasks: int, rate: float, alike: bool) -> np.ndarray:
    if alike:
        return np.full(n_tasks, rate)
    return rng.beta(rate / 2, (1 - rate) / 2, n_tasks).clip(1e-9, 1 - 1e-9)


@pytest.mark.parametrize("alike", [True, False], ids=["alike", "unlike"])
@pytest.mark.parametrize(("n_seeds", "n_tasks", "n_samples"), DESIGNS)
def test_false_positives_and_coverage(n_seeds, n_tasks, n_samples, alike):
    every = []
    for rate in (0.01, 0.04, 0.15, 0.5):
        for seed_sd in (0.0, 0.3):
            rng = np.random.default_rng([n_seeds, n_tasks, int(100 * rate), int(10 * seed_sd), alike])
            many = tasks_of(rng, 100_000, rate, alike)
            true_score = chances(rng, 10, many, seed_sd).mean() if seed_sd == 0 else _mean_over_seeds(many, seed_sd)
            # Arms react differently to each task, 0.5 in log-odds, for better or worse.
            gain = 0.5
            true_gain = (
                _mean_over_seeds(many, seed_sd, gain) if seed_sd else expit(logit(many) + gain).mean()
            ) - true_score
            counts = np.zeros(3)
            for _ in range(REPEATS):
                tasks = tasks_of(rng, n_tasks, rate, alike)
                arms = [chances(rng, n_seeds, tasks, seed_sd, of) for of in (0.0, 0.0, gain)]
                first, second, better = (rng.binomial(n_samples, chance) / n_samples for chance in arms)
                nothing = over_seeds(first - second, 0.95, DIFFERENCE_OF_SHARES)
                something = over_seeds(better - first, 0.95, DIFFERENCE_OF_SHARES)
                score = over_seeds(first, 0.95, SHARE)
                assert nothing.low < nothing.high and score.low < score.high
                counts += [
                    outcome_of(nothing) == "difference",
                    something.low <= true_gain <= something.high,
                    score.low <= true_score <= score.high,
                ]
            false, covered, score_covered = counts / REPEATS
            every.append(false)
            print(
                f"\n{n_seeds} seeds, {n_tasks} x {n_samples}, rate {rate:4.2f}, seed sd {seed_sd:3.1f}: "
                f"false positives {false:5.3f}, coverage {covered:5.3f}, of a score {score_covered:5.3f}",
                end="",
            )
            assert false <= 0.05 + SLACK
            assert covered >= 0.95 - SLACK
            assert score_covered >= 0.95 - SLACK
    assert np.mean(every) <= 0.05


def _mean_over_seeds(tasks: np.ndarray, seed_sd: float, gain: float = 0.0) -> float:
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    return sum(
        weight * expit(logit(tasks) + gain + seed_sd * node).mean() for node, weight in zip(nodes, weights, strict=True)
    ) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_a_design_shows_the_difference_that_it_says_it_can(n_seeds):
    """Power at the smallest detectable difference, known from the spread that is typical for the design."""
    rng = np.random.default_rng(n_seeds)

    def drawn(shift: float) -> np.ndarray:
        tasks = rng.uniform(0.2, 0.8, 200)
        first, second = (chances(rng, n_seeds, tasks, 0.2) for _ in range(2))
        return (rng.binomial(8, (first + shift).clip(0, 1)) - rng.binomial(8, second)) / 8

    designs = [detectable(drawn(0.0), 0.95, DIFFERENCE_OF_SHARES) for _ in range(200)]
    known = np.sqrt(np.mean([design.difference**2 for design in designs]))
    power = np.mean([over_seeds(drawn(known), 0.95, DIFFERENCE_OF_SHARES).low > 0 for _ in range(400)])
    print(f"\n{n_seeds} seeds: a difference of {known:.3f} is found in {power:.2f} of the repeats", end="")
    assert 0.72 < power < 0.9
