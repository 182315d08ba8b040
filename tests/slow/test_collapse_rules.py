"""Missed and false collapses of the default rules on simulated runs, over a grid; printed with `pytest -s`."""

import numpy as np
import pytest
from scipy.signal import lfilter

from arc_precision.collapse.detection import detect
from arc_precision.config.collapse import CollapseConfig

CONFIG = CollapseConfig()
GROUP = 8
RUNS = 60
BEGINS = (20, 40, 50, 200)
# Solved and valid programs of a healthy run: as after training, as of a poor model, and with few valid programs.
LEVELS = {"good": (0.36, 0.85), "poor": (0.05, 0.85), "few valid": (0.1, 0.2)}


def simulated(rng, solved, valid, prompts, repeats=1):
    """The series of `detect` from probabilities (steps,) of solved and of valid programs.

    A program has the reward 0 if it is not valid, 10 if it solves its task, else 1, in 15 % of the groups 3. Tasks
    differ: their rates are of a beta distribution. Each step's completions are used `repeats` times.
    """
    shape = (prompts, len(solved))
    rates = rng.beta(np.maximum(solved, 1e-4) * 0.6, (1 - solved) * 0.6, shape)
    ran = rng.binomial(GROUP, valid, shape)
    right = rng.binomial(ran, rates)
    part = np.where(rng.random(shape) < 0.15, 2.0, 0.0)
    reward = (ran + part * (ran - right) + 9 * right) / GROUP
    equal = (ran == 0) | (right == GROUP) | ((ran == GROUP) & (right == 0))
    truncated = rng.binomial(GROUP * prompts, 0.03, len(solved)) / (GROUP * prompts)
    drawn = np.arange(len(solved)) // repeats
    return (
        np.arange(1, len(solved) + 1),
        *(column[drawn] for column in (reward.mean(axis=0), truncated, equal.mean(axis=0))),
    )


def drifting(rng, steps, low, high):
    """A learning curve from `low` to `high`, times slow wandering of 10 %."""
    curve = high - (high - low) * np.exp(-np.arange(steps) / rng.uniform(100, 2000))
    wandering = lfilter([np.sqrt(1 - 0.995**2)], [1, -0.995], rng.normal(size=steps))
    return np.clip(curve * (1 + 0.1 * wandering), 0.01, 0.95)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("prompts", [1, 8])
def test_total_collapses_are_called(level, prompts):
    """At most 1 in 20 is missed, none is called before it begins, and the delay stays below 200 steps."""
    rng = np.random.default_rng(0)
    solved, valid = LEVELS[level]
    for begin in BEGINS:
        alive = np.arange(1500) < begin
        found = [detect(*simulated(rng, solved * alive, valid * alive, prompts), CONFIG) for _ in range(RUNS)]
        called = [collapse for collapse in found if collapse is not None]
        delay = np.median([collapse.detected_step - begin for collapse in called])
        off = np.median([abs(collapse.onset_step - begin - 1) for collapse in called])
        print(
            f"{level}, {prompts} prompts, collapse at {begin}: missed {RUNS - len(called)} of {RUNS}, "
            f"median delay {delay:.0f} steps, onset off by {off:.0f}"
        )
        assert RUNS - len(called) <= RUNS / 20
        assert all(collapse.detected_step > begin for collapse in called)
        assert delay < 200


@pytest.mark.parametrize("repeats", [1, 2, 4, 8])
@pytest.mark.parametrize("prompts", [1, 8])
def test_healthy_runs_are_not_called(prompts, repeats):
    """At most 2 % of stationary runs and of learning curves with drift, however often a batch is used."""
    rng = np.random.default_rng(1)
    false = total = 0
    for level, (solved, valid) in LEVELS.items():
        for drift in (False, True):
            alarms = 0
            for _ in range(RUNS):
                rates = drifting(rng, 5000, solved / 3, solved) if drift else np.full(5000, solved)
                alarms += detect(*simulated(rng, rates, valid, prompts, repeats), CONFIG) is not None
            print(f"{level}, {prompts} prompts, {repeats} uses, drift {drift}: false {alarms} of {RUNS}")
            false, total = false + alarms, total + RUNS
    assert false <= 0.02 * total
