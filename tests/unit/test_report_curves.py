"""Curves whose points are not means over steps, and the count of early signs."""

import numpy as np
import pandas as pd
import pytest

from arc_precision.config.collapse import CollapseConfig
from arc_precision.mismatch.metric_dictionary import METRICS
from arc_precision.mismatch.metrics import mismatch_metrics
from arc_precision.report.collapses import collapse_runs, signs
from arc_precision.report.curves import curves
from arc_precision.report.results import Run
from arc_precision.report.runs import RunRecord

RUN = Run("float16", 0)


def steps_of(d: np.ndarray) -> pd.DataFrame:
    """Rows of steps from differences d (steps, sequences, tokens)."""
    rows = [mismatch_metrics(each, np.zeros_like(each), np.ones_like(each)) for each in d]
    frame = pd.DataFrame([{f"mismatch/{metric.key}": row[metric.key] for metric in METRICS} for row in rows])
    number = np.arange(1, len(d) + 1)
    return frame.assign(step=number, applied_steps=number)


def ess_panel(frame: pd.DataFrame, smoothing_steps: int):
    panels = curves({RUN: frame}, ["float16"], smoothing_steps).panels
    return next(panel for panel in panels if panel.key == "mismatch/ess_seq")


def test_the_effective_sample_size_of_a_point_is_that_of_its_sequences_together():
    """It is not the mean over steps, which cannot fall below one over the sequences of a step."""
    d = np.random.default_rng(0).normal(-0.03, 0.05, (20, 4, 1024))
    panel = ess_panel(steps_of(d), smoothing_steps=10)
    for step in (1, 7, 10, 20):
        weights = np.exp(d[max(step - 10, 0) : step].sum(axis=2) + 30).ravel()
        expected = weights.mean() ** 2 / np.square(weights).mean()
        assert panel.runs[0].value[step - 1] == pytest.approx(expected, rel=1e-3)
    assert panel.runs[0].value[19] < 0.25 < steps_of(d)["mismatch/ess_seq"].mean()


def test_a_panel_says_how_many_sequences_stand_behind_a_point_and_gives_no_alert_for_few():
    d = np.random.default_rng(0).normal(0, 0.05, (40, 4, 100))
    few, many = (ess_panel(steps_of(d), smoothing_steps) for smoothing_steps in (2, 10))
    assert "about 8 sequences together, so it cannot fall below 0.12" in few.description and few.healthy == ""
    assert "about 40 sequences together" in many.description and "alert below 0.3" in many.healthy


def test_steps_without_a_finite_sequence_are_no_point_and_spoil_none():
    d = np.random.default_rng(0).normal(0, 0.05, (6, 4, 100))
    d[2] = np.nan
    frame = steps_of(d)
    values = ess_panel(frame, smoothing_steps=2).runs[0].value
    assert values[2] is None and all(0 < value <= 1 for place, value in enumerate(values) if place != 2)
    assert values[3] == pytest.approx(frame["mismatch/ess_seq"][3], rel=1e-3)


def test_false_alarms_are_counted_per_thousand_quiet_steps():
    """One metric jumps at step 300 in a run that stays healthy, and shortly before the end in one that collapses."""
    rules = CollapseConfig(smoothing_steps=20, patience_steps=10, baseline_steps=60)
    rng, number = np.random.default_rng(0), np.arange(1, 601)
    records = {}
    for seed, jump, onset in ((0, 300, None), (1, 470, 500)):
        reward = np.where(number < (onset or 601), 5.0, 0.0) + rng.normal(0, 0.5, 600)
        steps = pd.DataFrame({"step": number, "reward_mean": reward, "truncated_share": 0.0})
        steps["frac_reward_zero_std"] = 0.2
        steps["grad_norm"] = np.where(number < jump, 1.0, 4.0) + rng.normal(0, 0.1, 600)
        records[Run("float16", seed)] = RunRecord(Run("float16", seed), steps, max_steps=600)
    healthy, collapsed = collapse_runs(records, rules)
    assert healthy.onset_step is None and abs(collapsed.onset_step - 500) <= 2
    (sign,) = (sign for sign in signs([healthy, collapsed]) if sign.metric == "grad_norm")
    assert (sign.warned_collapsed, sign.collapsed) == (1, 1)
    assert sign.lead_steps_median == pytest.approx(30, abs=5)
    # Every step from the 80th on, but those of the second run from 60 before onset on.
    assert sign.quiet_steps == 521 + collapsed.onset_step - 60 - 80
    assert sign.false_alarms >= 1
    assert sign.false_alarms_per_1000_steps == pytest.approx(1000 * sign.false_alarms / sign.quiet_steps, rel=1e-3)
    assert [w.lead_steps is None for w in healthy.warnings] == [True]


@pytest.mark.parametrize("uses", [1, 2])
def test_the_report_calls_what_the_run_called(uses):
    """Steps that use a batch again have null rewards, and the run's own rules are given the same rows."""
    number = np.arange(1, 401)
    reward = np.where(number < 200, 5.0, 0.0) + np.random.default_rng(0).normal(0, 0.5, 400)
    steps = pd.DataFrame({"step": number, "reward_mean": reward, "truncated_share": 0.0, "frac_reward_zero_std": 0.2})
    steps = steps.astype({"reward_mean": object})
    steps.loc[number % uses != 0, "reward_mean"] = None
    (found,) = collapse_runs({RUN: RunRecord(RUN, steps, max_steps=400)}, CollapseConfig())
    assert found.state == "collapsed" and abs(found.onset_step - 200) <= 2 * uses


def test_many_runs_have_fewer_points_each_and_all_of_them_the_same_steps():
    frame = steps_of(np.random.default_rng(0).normal(0, 0.05, (120, 2, 10)))
    runs = {Run("float16", seed): frame for seed in range(50)}
    found = curves(runs, ["float16"], smoothing_steps=2)
    assert 600 < sum(len(axis.step) for axis in found.axes) <= 800
    assert len({tuple(axis.step) for axis in found.axes}) == 1 and found.steps_per_point == 8
