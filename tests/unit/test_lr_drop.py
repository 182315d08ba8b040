"""The steps at which the learning rate falls: computed by hand, and against pandas."""

import numpy as np
import pandas as pd
import pytest

from arc_precision.config.experiment import ConfigError, ExperimentConfig, load_experiment
from arc_precision.config.training import LrDrop
from arc_precision.training.lr_drop import SIGNALS, count_drops


def drops_after_each(values, signal="completion_length", **rule) -> list[int]:
    rows = [dict.fromkeys(SIGNALS.values(), 1.0) | {SIGNALS[signal]: value} for value in values]
    return [count_drops(rows[:n], LrDrop(signal=signal, **rule)) for n in range(len(rows) + 1)]


@pytest.mark.parametrize("signal", SIGNALS)
def test_by_hand(signal):
    values = [9.0, 11.0, 13.0, 17.0, 15.0, 17.1, 8.0, 40.0, 12.0, 41.0, 30.0]
    # The first mean of two, 10, is the reference. 16 is not above 1.6 x 10; 16.05 is: a drop, and the next reference.
    # 24 is not above 1.6 x 16.05; 26 is. 35.5 is not above 1.6 x 26.
    expected = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert drops_after_each(values, signal, rise=1.6, window_steps=2) == expected


def test_steps_without_a_value_are_passed_over():
    values = [10.0, None, 10.0, None, 20.0, None, 20.0, None]
    assert drops_after_each(values, rise=1.5, window_steps=2) == [0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_a_signal_that_stays_or_falls_changes_nothing():
    for values in ([10.0] * 50, list(np.linspace(50, 1, 50)), [0.0] * 50):
        assert drops_after_each(values, rise=1.01, window_steps=3)[-1] == 0


def test_agrees_with_rolling_means_of_pandas():
    rng = np.random.default_rng(0)
    n_found = 0
    for _ in range(20):
        window, rise = int(rng.integers(1, 6)), 1 + rng.random()
        values = np.exp(np.cumsum(rng.normal(0.02, 0.2, 80)))
        levels = pd.Series(values).rolling(window).mean()
        n_drops, reference = 0, window - 1
        while len(above := levels.index[(levels.index >= reference + window) & (levels > rise * levels[reference])]):
            n_drops, reference = n_drops + 1, above[0]
        assert drops_after_each(values, rise=rise, window_steps=window)[-1] == n_drops
        n_found += n_drops
    assert n_found > 20


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"signal": "length"}, "training.lr_drop.signal: 'length' is not possible; write 'completion_length' or"),
        ({"signal": "mismatch", "rise": 1.0}, "training.lr_drop.rise: 1.0 is not possible; write a number above 1"),
        ({"signal": "mismatch", "factor": 1.0}, "training.lr_drop.factor: 1.0 is not possible; write a number below 1"),
        ({"rise": 2.0}, "training.lr_drop.signal: missing"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_experiment(ExperimentConfig().model_dump(mode="json") | {"training": {"lr_drop": rule}})
