"""Collapse detection on planted curves and on healthy ones, failed runs, and early warnings."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.signal import lfilter
from scipy.stats import norm
from scipy.stats import t as t_distribution

from arc_precision.collapse.detection import detect, early_warnings, failed_step, first_possible_step
from arc_precision.config.collapse import CollapseConfig

CONFIG = CollapseConfig()
SMALL = CollapseConfig(smoothing_steps=4, patience_steps=2, min_steps=4, baseline_steps=8, min_drop_standard_errors=0)
STEPS = 1600
BEGIN = 1001  # the first step of the planted events


def series(reward, truncated=0.02, zero_variance=0.2):
    """The arguments of `detect`, constants spread over the steps of `reward`."""
    reward = np.asarray(reward, dtype=float)
    step = np.arange(1, len(reward) + 1)
    return step, reward, truncated + np.zeros(len(reward)), zero_variance + np.zeros(len(reward))


def learning_curve():
    """Mean reward, rising from 0.3 towards 0.6."""
    return 0.6 - 0.3 * np.exp(-np.arange(STEPS) / 300)


def sudden():
    mean = learning_curve()
    mean[BEGIN - 1 :] = 0.02
    return mean, BEGIN


def slow():
    """A fall over 200 steps; its onset is where the mean itself crosses the threshold."""
    mean = learning_curve()
    fall = np.interp(np.arange(STEPS), [BEGIN - 1, BEGIN + 199], [mean[BEGIN - 1], 0.02])
    mean = np.where(np.arange(STEPS) >= BEGIN - 1, fall, mean)
    below = mean < CONFIG.reward_share * np.maximum.accumulate(mean)
    return mean, int(np.flatnonzero(below)[0]) + 1


def recovering():
    mean, onset = sudden()
    mean[1300:] = 0.55
    return mean, onset


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("curve", "noise"), [(sudden, 0.05), (slow, 0.02), (recovering, 0.05), (sudden, 0.2), (recovering, 0.2)]
)
def test_onset_within_five_steps(curve, noise, seed):
    mean, onset = curve()
    reward = mean + np.random.default_rng(seed).normal(0, noise, STEPS)
    collapse = detect(*series(reward), CONFIG)
    assert collapse.rule == "reward"
    assert abs(collapse.onset_step - onset) <= 5
    assert collapse.detected_step >= collapse.onset_step
    assert (collapse.recovered_step is not None) == (curve is recovering)


@pytest.mark.parametrize("fall_steps", [1, 100])
def test_a_noisy_onset_is_mostly_found(fall_steps):
    """Noise of 0.1 on a fall of 0.6: the onset of a jump is found to the step, that of a slower fall nearly."""
    mean = np.interp(np.arange(STEPS), [BEGIN - 2, BEGIN - 2 + fall_steps], [0.6, 0.0])
    onset = np.flatnonzero(mean < 0.3)[0] + 1
    errors = []
    for seed in range(30):
        reward = mean + np.random.default_rng(seed).normal(0, 0.1, STEPS)
        errors.append(abs(detect(*series(reward), CONFIG).onset_step - onset))
    assert np.mean(np.array(errors) <= (0 if fall_steps == 1 else 5)) >= 0.95


@pytest.mark.parametrize("seed", range(20))
def test_recovery_is_located(seed):
    mean, _ = recovering()
    reward = mean + np.random.default_rng(seed).normal(0, 0.05, STEPS)
    assert abs(detect(*series(reward), CONFIG).recovered_step - 1301) <= 5


@pytest.mark.parametrize("noise", [0, 0.05, 0.2])
def test_no_collapse(noise):
    reward = learning_curve() + np.random.default_rng(0).normal(0, noise, STEPS)
    assert detect(*series(reward), CONFIG) is None


def healthy_run(seed):
    """A run that learns and does not collapse: random learning curve, in half of the runs with slow wandering of 10 %,
    in a third with a passing dip of 25 %; one to 64 groups of 8 completions a step, whose rates differ by task."""
    rng = np.random.default_rng(seed)
    groups, size = int(rng.choice([1, 4, 64])), 8
    t = np.arange(STEPS)
    low = rng.uniform(0.05, 0.4)
    high = rng.uniform(low, 0.98)
    level = high - (high - low) * np.exp(-t / rng.uniform(100, 2000))
    if rng.random() < 0.5:
        level *= 1 + 0.1 * lfilter([np.sqrt(1 - 0.995**2)], [1, -0.995], rng.normal(size=STEPS))
    if rng.random() < 1 / 3:
        begin = rng.integers(300, STEPS - 300)
        level[begin : begin + rng.integers(50, 300)] *= 0.75
    level = np.clip(level, 0.01, 0.99)
    spread = rng.uniform(0.3, 5)
    drawn = min(groups, 4)  # 64 groups are 4 with a quarter of the deviation
    rates = rng.beta(level[:, None] * spread, (1 - level[:, None]) * spread, (STEPS, drawn))
    solved = rng.binomial(size, rates)
    reward = level + (solved.mean(axis=1) / size - level) * np.sqrt(drawn / groups)
    equal = ((solved == 0) | (solved == size)).mean(axis=1)
    truncated = rng.binomial(groups * size, rng.uniform(0, 0.15), STEPS) / (groups * size)
    return t + 1, reward, truncated, equal


def test_at_most_one_in_a_hundred_healthy_runs_raises_an_alarm():
    alarms = [seed for seed in range(1000) if detect(*healthy_run(seed), CONFIG) is not None]
    assert len(alarms) <= 10, alarms


@pytest.mark.parametrize("groups", [1, 64])
def test_the_simulated_healthy_runs_collapse_when_they_are_made_to(groups):
    """The guards against false alarms do not blind the detector: the same noise, with a planted collapse."""
    found = total = 0
    for seed in range(60):
        step, reward, truncated, equal = healthy_run(seed)
        before = reward[BEGIN - 101 : BEGIN - 1]
        if (np.random.default_rng(seed).choice([1, 4, 64]) != groups) or before.mean() < 0.3:
            continue
        reward[BEGIN - 1 :] = 0.0
        collapse = detect(step, reward, truncated, equal, CONFIG)
        total += 1
        found += collapse is not None and abs(collapse.onset_step - BEGIN) <= 5
    assert total >= 8
    assert found / total >= 0.9


def test_by_hand():
    """Smoothed over 4 steps, threshold half of the maximum 0.8, patience of 2."""
    reward = [0.8] * 10 + [0.0] * 6
    collapse = detect(*series(reward), SMALL)
    # The trailing mean is 0.6, 0.4, 0.2 at steps 11, 12, 13: below 0.4 from step 13 on, for two steps at 14.
    assert (collapse.onset_step, collapse.detected_step) == (11, 14)
    assert (collapse.rule, collapse.threshold, collapse.running_max) == ("reward", 0.4, 0.8)
    assert collapse.recovered_step is None
    # At 0.8 of 0.8 it has recovered: the trailing mean reaches 0.64 three steps after the fourth good one.
    recovered = detect(*series(reward + [0.8] * 8), SMALL)
    assert recovered.recovered_step == 17
    assert recovered.onset_step == 11


def test_a_rule_must_hold_without_a_break():
    reward = [0.8] * 10 + [0.0] * 3 + [0.8] * 8
    assert detect(*series(reward), SMALL) is not None
    assert detect(*series(reward), SMALL.model_copy(update={"patience_steps": 6})) is None


@pytest.mark.parametrize("config", [CONFIG, SMALL, CollapseConfig(smoothing_steps=30, patience_steps=60)])
def test_nothing_is_called_before_the_first_possible_step(config):
    """From that step on a sudden and total collapse can be called, before it none."""
    first = first_possible_step(config)
    assert config.min_steps < first < 10 * config.min_steps
    called = []
    for begin in range(1, first):
        reward = np.where(np.arange(first) < begin, 2 + np.arange(first) / 1000, 0.0)
        assert detect(*(values[:-1] for values in series(reward)), config) is None
        called.append(detect(*series(reward), config) is not None)
    assert any(called)


def test_a_run_that_never_had_reward_cannot_lose_it():
    assert detect(*series([0.08] * 10 + [0.0] * 10), SMALL) is None
    assert detect(*series([0.12] * 10 + [0.0] * 10), SMALL) is not None


def test_shares_are_counted_from_the_floor():
    """From 1 to 0.2 on a scale that begins at -1: 60 % of the height is left; and -0.1 leaves 45 %."""
    config = SMALL.model_copy(update={"reward_floor": -1.0})
    assert detect(*series([1.0] * 10 + [0.2] * 10), config) is None
    assert detect(*series([1.0] * 10 + [-0.1] * 10), config).threshold == 0.0


def test_a_drop_within_the_noise_is_no_collapse():
    rng = np.random.default_rng(3)
    reward = rng.binomial(1, 0.1, 4000).astype(float)
    loose = CONFIG.model_copy(update={"min_drop_standard_errors": 0.0})
    assert detect(*series(reward), loose) is not None
    assert detect(*series(reward), CONFIG) is None


def test_truncation():
    rng = np.random.default_rng(0)
    truncated = np.where(np.arange(STEPS) < BEGIN - 1, 0.05, 0.9) + rng.normal(0, 0.03, STEPS)
    collapse = detect(*series(learning_curve(), truncated), CONFIG)
    assert collapse.rule == "truncation"
    assert collapse.threshold == CONFIG.truncation_share
    assert abs(collapse.onset_step - BEGIN) <= 5
    truncated[1300:] = 0.1
    assert abs(detect(*series(learning_curve(), truncated), CONFIG).recovered_step - 1301) <= 5


def test_what_was_truncated_from_the_start_has_not_collapsed():
    assert detect(*series(learning_curve(), truncated=0.9), CONFIG) is None


def test_equal_groups_with_a_lower_reward_are_a_collapse():
    """Every completion the same wrong answer: reward at 70 %, so only the rule on groups sees it."""
    late = np.arange(STEPS) >= BEGIN - 1
    reward = np.where(late, 0.42, 0.6) + np.random.default_rng(0).normal(0, 0.02, STEPS)
    collapse = detect(*series(reward, zero_variance=np.where(late, 1.0, 0.3)), CONFIG)
    assert collapse.rule == "zero_variance"
    assert abs(collapse.onset_step - BEGIN) <= 5


@pytest.mark.parametrize("reward_after", [1.0, 0.55])
def test_equal_groups_with_a_good_reward_are_none(reward_after):
    """Everything is solved, or the reward is a little lower than it was."""
    late = np.arange(STEPS) >= BEGIN - 1
    reward = np.where(late, reward_after, 0.6)
    assert detect(*series(reward, zero_variance=np.where(late, 1.0, 0.3)), CONFIG) is None


def test_the_rule_that_holds_first_is_reported():
    late = np.arange(STEPS) >= BEGIN - 1
    reward = np.where(np.arange(STEPS) >= BEGIN + 199, 0.0, 0.6)
    collapse = detect(*series(reward, truncated=0.9 * late), CONFIG)
    assert collapse.rule == "truncation"
    assert abs(collapse.onset_step - BEGIN) <= 5


def test_more_rows_change_nothing_but_recovery():
    mean, _ = recovering()
    rows = series(mean + np.random.default_rng(0).normal(0, 0.05, STEPS))
    whole = detect(*rows, CONFIG)
    for upto in (whole.detected_step - 1, whole.detected_step, 1250, 1500):
        so_far = detect(*(values[:upto] for values in rows), CONFIG)
        if upto < whole.detected_step:
            assert so_far is None
        else:
            fields = ("rule", "onset_step", "detected_step", "threshold", "running_max")
            assert all(getattr(so_far, field) == getattr(whole, field) for field in fields)


def test_step_numbers_are_those_given():
    step, *values = series([0.8] * 10 + [0.0] * 6)
    assert detect(step + 100, *values, SMALL).onset_step == 111


def test_rows_must_be_complete():
    step, reward, truncated, equal = series([0.5] * 10)
    with pytest.raises(ValueError, match="one row per optimizer step"):
        detect(np.delete(step, 4), reward[:9], truncated[:9], equal[:9], SMALL)
    with pytest.raises(ValueError, match="truncated: 9 values for 10 steps"):
        detect(step, reward, truncated[:9], equal, SMALL)
    equal[6] = np.nan
    with pytest.raises(ValueError, match="zero_variance: not finite at step 7"):
        detect(step, reward, truncated, equal, SMALL)
    reward[3] = np.inf
    with pytest.raises(ValueError, match="reward: not finite at step 4"):
        detect(step, reward, truncated, equal, SMALL)


@pytest.mark.parametrize("uses", [2, 4])
@pytest.mark.parametrize("null", [None, np.nan])
def test_steps_that_use_a_batch_again_are_left_out(uses, null):
    """Null rewards, as the log has them: the collapse is that of the steps that drew, under their own numbers."""
    mean, onset = sudden()
    drawn = series(mean + np.random.default_rng(0).normal(0, 0.1, STEPS))
    _, *values = drawn
    sparse = [np.array([v for value in column for v in [value, *[null] * (uses - 1)]]) for column in values]
    of_drawn, of_all = detect(*drawn, CONFIG), detect(np.arange(1, uses * STEPS + 1), *sparse, CONFIG)
    assert of_all.detected_step == (of_drawn.detected_step - 1) * uses + 1
    assert of_all.onset_step == (of_drawn.onset_step - 1) * uses + 1
    assert abs(of_drawn.onset_step - onset) <= 5
    assert detect(np.arange(1, 41), *(np.full(40, null, dtype=object) for _ in values), CONFIG) is None


def groups_of_programs(rng, solved, valid, prompts, size=8):
    """Mean reward and share of equal groups per step of `prompts` groups: 0 for a program that is not valid, else 1,
    and 10 for a solved task. `solved` and `valid` are probabilities (steps,); the tasks' own vary."""
    rates = rng.beta(np.maximum(solved, 1e-4) * 0.6, (1 - solved) * 0.6, (prompts, len(solved)))
    ran = rng.binomial(size, valid, rates.shape)
    right = rng.binomial(ran, rates)
    equal = (ran == 0) | (right == size) | ((ran == size) & (right == 0))
    return ((ran + 9 * right) / size).mean(axis=0), equal.mean(axis=0)


@pytest.mark.parametrize("begin", [20, 40, 50])
@pytest.mark.parametrize("prompts", [1, 8])
def test_a_total_collapse_in_the_first_steps_is_called(begin, prompts):
    rng = np.random.default_rng(0)
    alive = np.arange(1000) < begin
    found = []
    for _ in range(20):
        reward, equal = groups_of_programs(rng, 0.36 * alive, 0.85 * alive, prompts)
        found.append(detect(*series(reward, zero_variance=equal), CONFIG))
    assert all(collapse is not None and begin < collapse.detected_step < begin + 100 for collapse in found)
    assert np.median([abs(collapse.onset_step - begin - 1) for collapse in found]) <= 5


@pytest.mark.parametrize("solved", [0.02, 0.1, 0.2])
def test_a_collapse_is_called_where_few_programs_were_valid(solved):
    rng = np.random.default_rng(0)
    alive = np.arange(1600) < 1000
    for _ in range(10):
        reward, equal = groups_of_programs(rng, solved * alive, 0.2 * alive, prompts=1)
        assert 1000 < detect(*series(reward, zero_variance=equal), CONFIG).detected_step < 1150


@pytest.mark.parametrize("repeats", [4, 8])
def test_repeated_values_are_not_taken_for_independent_ones(repeats):
    """Rewards that are repeated, as when steps use a batch again, tell no more than one copy."""
    rng = np.random.default_rng(0)
    for _ in range(8):
        values = groups_of_programs(rng, np.full(625, 0.36), np.full(625, 0.85), prompts=1)
        reward, equal = (np.repeat(column, repeats) for column in values)
        assert detect(*series(reward, zero_variance=equal), CONFIG) is None


def test_no_rows():
    assert detect(*series([]), CONFIG) is None
    assert failed_step(np.array([]), np.array([]), CONFIG) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_failed_is_the_first_of_enough_nonfinite_losses_in_a_row(value):
    step, loss = np.arange(1, 41), np.zeros(40)
    loss[5:14] = value  # nine in a row: not enough
    assert failed_step(step, loss, CONFIG) is None
    loss[20:30] = value
    assert failed_step(step, loss, CONFIG) == 21
    assert failed_step(step, loss, SMALL.model_copy(update={"nonfinite_steps": 11})) is None


def test_the_config_refuses_what_makes_no_sense():
    with pytest.raises(ValidationError, match="is not above reward_share"):
        CollapseConfig(reward_share=0.8, recovery_share=0.8)
    with pytest.raises(ValidationError, match="extra_forbidden"):
        CollapseConfig(reward_shares=0.5)
    with pytest.raises(ValidationError):
        CollapseConfig(smoothing_steps=0)
    assert all(field.description for field in CollapseConfig.model_fields.values())


# --- early warnings --------------------------------------------------------------------------------------------------


WARNING_STEPS = 2000
ONSET = 1401


def metric_series():
    """Over 2,000 steps with onset at 1,401: one metric that jumps 300 steps earlier, one that falls then but within its
    noise, one that stays, one that moves only after onset, and one that drifts all the time."""
    rng = np.random.default_rng(0)
    t = np.arange(1, WARNING_STEPS + 1)
    return {
        "kl": np.where(t >= 1101, 2.0, 1.0) + rng.normal(0, 0.1, t.size),
        "length": np.where(t >= 1101, 300.0, 400.0) + rng.normal(0, 50, t.size),
        "steady": rng.normal(0, 1, t.size),
        "late": np.where(t >= 1401, 5.0, 0.0) + rng.normal(0, 0.1, t.size),
        "drift": 0.1 + 0.17 * np.exp(-t / 500) + rng.normal(0, 0.02, t.size),
    }


def test_early_warnings():
    table = early_warnings(np.arange(1, WARNING_STEPS + 1), metric_series(), ONSET, CONFIG)
    assert list(table.index) == ["kl", "length", "steady", "late", "drift"]
    kl = table.loc["kl"]
    assert 1101 <= kl["left_step"] <= 1125
    assert kl["confirmed_step"] == kl["left_step"] + CONFIG.patience_steps - 1
    assert kl["lead_steps"] == ONSET - kl["left_step"]
    assert kl["direction"] == "up"
    assert table.loc["length", "direction"] == "down"
    assert 1101 <= table.loc["length", "left_step"] <= 1180
    assert table.loc[["steady", "late", "drift"], ["left_step", "lead_steps"]].isna().all(axis=None)
    assert (table["false_alarms"] == 0).all()
    # Of the steps before 1,401 - 400, those that have a full baseline, from step 500 on.
    assert (table["quiet_steps"] == ONSET - CONFIG.baseline_steps - 500).all()


def test_without_an_onset_every_alarm_is_false():
    table = early_warnings(np.arange(1, WARNING_STEPS + 1), metric_series(), None, CONFIG)
    assert table["left_step"].notna().tolist() == [True, True, False, True, False]
    assert table["lead_steps"].isna().all()
    assert (table["false_alarms"] > 0).tolist() == [True, True, False, True, False]
    assert (table["quiet_steps"] == WARNING_STEPS - 499).all()


def test_an_alarm_long_before_onset_is_false():
    t = np.arange(1, WARNING_STEPS + 1)
    jump = {"kl": np.where(t >= 701, 2.0, 1.0) + np.random.default_rng(0).normal(0, 0.1, t.size)}
    row = early_warnings(t, jump, 1401, CONFIG).loc["kl"]
    assert row["false_alarms"] == 1 and row["lead_steps"] is pd.NA
    assert 701 <= row["left_step"] <= 725


def test_a_band_by_hand():
    """Two smoothed steps against four before them, in as many parts. The line through 0, 2, 2, 0 is level, at 1."""
    config = SMALL.model_copy(update={"smoothing_steps": 2, "baseline_steps": 4, "patience_steps": 1})
    # variance 4 / (4 - 2); the smoothed middle lies 3 steps from the baseline's, whose squared offsets sum to 5.
    error = np.sqrt(2 * (1 / 4 + 3**2 / 5 + 1 / 2))
    half_width = t_distribution.isf(norm.sf(5), 2) * error
    for level, alarms in ((1 + half_width * 1.01, 1), (1 + half_width * 0.99, 0), (1 - half_width * 1.01, 1)):
        values = np.array([0.0, 2.0, 2.0, 0.0, level, level])
        table = early_warnings(np.arange(1, 7), {"m": values}, None, config)
        assert table.loc["m", ["false_alarms", "quiet_steps"]].tolist() == [alarms, 1]
        assert not alarms or table.loc["m", "direction"] == ("up" if level > 1 else "down")


def test_missing_values_of_a_metric_are_passed_over():
    metrics = metric_series()
    metrics["kl"][::3] = np.nan
    metrics["absent"] = np.full(WARNING_STEPS, np.nan)
    metrics["constant"] = np.full(WARNING_STEPS, 0.3)
    table = early_warnings(np.arange(1, WARNING_STEPS + 1), metrics, ONSET, CONFIG)
    assert 1101 <= table.loc["kl", "left_step"] <= 1125
    assert table.loc["absent", ["false_alarms", "quiet_steps"]].tolist() == [0, 0]
    assert table.loc[["absent", "constant"], "left_step"].isna().all()


@pytest.mark.parametrize("lasting_steps", [0, 20])
def test_most_steady_metrics_give_no_warning(lasting_steps):
    """White noise, and noise that lasts for some steps."""
    rng = np.random.default_rng(0)
    kept = np.exp(-1 / lasting_steps) if lasting_steps else 0.0
    metrics = {str(i): lfilter([1], [1, -kept], rng.normal(0, 1, STEPS)) for i in range(200)}
    table = early_warnings(np.arange(1, STEPS + 1), metrics, None, CONFIG)
    assert 1000 * table["false_alarms"].sum() / table["quiet_steps"].sum() <= 0.05
