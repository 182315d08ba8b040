"""Collapse of a run: its first step, its rule, a recovery, and early warnings.

Pure functions of per-step series, one value per optimizer step from the run's first step on. A trainer that stops early
calls `detect` on the rows so far: more rows do not change its result, except that they may add a recovery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.stats import norm, t

from arc_precision.collapse.levels import Levels, new_values
from arc_precision.collapse.series import checked, first_stretch, stretches
from arc_precision.config.collapse import CollapseConfig

BASELINE_PARTS = 20  # at most; the scatter of these means includes noise that lasts for several steps
Rule = Literal["reward", "truncation", "zero_variance"]


@dataclass(frozen=True)
class Collapse:
    """A run's first collapse."""

    rule: Rule
    onset_step: int  # where it began, as seen from `detected_step`
    detected_step: int  # where the rule had held for its patience
    threshold: float  # the limit that the series of the rule crossed
    running_max: float  # of the smoothed reward, until `detected_step`
    recovered_step: int | None


class HasNonfiniteSteps(Protocol):
    """A section of the configuration with the key `nonfinite_steps`."""

    nonfinite_steps: int


def detect(
    step: np.ndarray, reward: np.ndarray, truncated: np.ndarray, zero_variance: np.ndarray, config: CollapseConfig
) -> Collapse | None:
    """The first collapse in the series, or None.

    All arrays have shape (steps,): consecutive step numbers, mean reward, share of truncated completions, share of
    groups whose rewards are all equal. A step without a reward (null or NaN) used an earlier batch again and drew no
    completions. Such steps are left out, and all counts of steps refer to the others. The rule that holds first for its
    patience is reported; in a tie `reward` comes before the others.

    Trailing windows span `smoothing_steps`, or half of the steps so far if these are fewer; the patience is
    `patience_steps`, or a quarter of the steps so far if these are fewer. The best window has the highest mean less two
    standard errors, and may be as short as `min_steps`. So even a collapse within the first steps has a level to be
    compared with.

    The rules use the smoothed series, which lags behind. So once a rule has fired, onset and recovery are located in
    the raw series, where a ramp fitted to it crosses the threshold (see `_crossing`).

    Raises ValueError if steps are not consecutive, or a value is not finite at a step that has a reward.
    """
    step, reward, truncated, zero_variance = _drawn(step, reward, truncated, zero_variance)
    count = len(step)
    if count < config.min_steps:
        return None
    number = np.arange(1, count + 1)
    window = np.clip(number // 2, 1, config.smoothing_steps)
    patience = np.clip(number // 4, 1, config.patience_steps)
    settled = number > config.min_steps
    new = new_values(reward, truncated, zero_variance)
    rewards, completed, varied = (
        Levels(values, new, window, config) for values in (reward, -truncated, -zero_variance)
    )

    gained = rewards.best - config.reward_floor
    collapse_limit = config.reward_floor + config.reward_share * gained
    recovery_limit = config.reward_floor + config.recovery_share * gained
    many_equal = varied.has_crossed(-config.zero_variance_share)
    rules: dict[Rule, tuple[np.ndarray, Levels]] = {
        "reward": ((rewards.now < collapse_limit) & (gained >= config.min_running_max), rewards),
        "truncation": (completed.has_crossed(-config.truncation_share), completed),
        "zero_variance": (many_equal & (rewards.now < recovery_limit), rewards),
    }
    fired = {rule: _first_held(settled & crossed, levels, patience) for rule, (crossed, levels) in rules.items()}
    fired = {rule: detected for rule, detected in fired.items() if detected is not None}
    if not fired:
        return None
    rule = min(fired, key=fired.__getitem__)
    detected = fired[rule]

    # Where the rule's series, turned so that low is bad, crosses its limits in collapse and in recovery.
    levels, limit, healthy_limit = {
        "reward": (rewards, collapse_limit[detected], recovery_limit[detected]),
        "truncation": (completed, -config.truncation_share, -config.truncation_share),
        "zero_variance": (varied, -config.zero_variance_share, -config.zero_variance_share),
    }[rule]
    start = levels.first_of_best(detected)
    onset = start + _crossing(levels.values[start : detected + 1], limit, config.smoothing_steps)
    recovered = None
    healthy_again = first_stretch(levels.now[detected:] >= healthy_limit, int(patience[detected]))
    if healthy_again is not None:
        back = -levels.values[onset : detected + healthy_again + 1]
        recovered = onset + _crossing(back, -healthy_limit, config.smoothing_steps)
    return Collapse(
        rule=rule,
        onset_step=int(step[onset]),
        detected_step=int(step[detected]),
        threshold=float(limit if rule == "reward" else -limit),
        running_max=float(rewards.best[detected]),
        recovered_step=None if recovered is None else int(step[recovered]),
    )


def first_possible_step(config: CollapseConfig) -> int:
    """The first step at which the rules can call a collapse: shorter runs cannot show one.

    The most sudden collapse is a nearly constant reward that falls to 0 and stays there.
    """
    earliest = 2 * config.min_steps + 2 * config.smoothing_steps + 4 * config.patience_steps
    begin = 1
    while begin < earliest:
        step = np.arange(1, earliest + 1)
        reward = config.reward_floor + np.where(step <= begin, 2 + config.min_running_max + step / 1000, 0.0)
        found = detect(step, reward, np.zeros(earliest), np.zeros(earliest), config)
        earliest = found.detected_step if found else earliest
        begin += 1
    return earliest


def failed_step(step: np.ndarray, loss: np.ndarray, config: HasNonfiniteSteps) -> int | None:
    """The first of `nonfinite_steps` steps in a row whose loss is not finite, or None.

    Such a run has failed, which is not a collapse. Updates that float16's loss scale skips are no failure: their loss
    is finite. `step` and `loss` have shape (steps,); a missing loss is NaN.
    """
    last = first_stretch(~np.isfinite(np.asarray(loss, dtype=np.float64)), config.nonfinite_steps)
    return None if last is None else int(step[last - config.nonfinite_steps + 1])


def early_warnings(
    step: np.ndarray, metrics: Mapping[str, np.ndarray], onset_step: int | None, config: CollapseConfig
) -> pd.DataFrame:
    """The metrics that left their own baseline before onset, with their lead, and their false alarms.

    `metrics` maps names to series of shape (steps,); NaN or null where a step has no value. At every step the mean over
    the last `smoothing_steps` is compared with a prediction from the `baseline_steps` before them. The prediction
    continues a straight line through the means of equal parts of these steps, so a metric that drifts as before has not
    left its baseline. The band is `warning_standard_errors` of that prediction wide on either side. The standard error
    comes from the scatter of the parts about the line (with Student's t, as the parts are few), so it includes noise
    that lasts for several steps.

    An alarm is given when the mean has been outside for `patience_steps`. An alarm whose mean left the band at most
    `baseline_steps` before onset is a warning; every other is false. All other steps that have a baseline are quiet.

    One row per metric. `left_step` (first step outside), `confirmed_step` (end of the patience; at the latest the
    onset), `direction` ("up" or "down") and `lead_steps` (from leaving to onset) describe the first warning. Without a
    warning they describe the first false alarm, with `lead_steps` missing; without an alarm all are missing.
    `false_alarms` and `quiet_steps` are counts.
    """
    step, *series = checked(step, **metrics)
    rows = {}
    for name, values in zip(metrics, series, strict=True):
        smooth, low, high = _bands(values, config)
        known = np.isfinite(smooth) & np.isfinite(low)
        if onset_step is not None:
            known &= step <= onset_step
        quiet = known if onset_step is None else known & (step < onset_step - config.baseline_steps)
        with np.errstate(invalid="ignore"):
            outside = known & ((smooth < low) | (smooth > high))
        alarms = stretches(outside, config.patience_steps)
        left = alarms - config.patience_steps + 1
        near = np.zeros(len(left), bool) if onset_step is None else step[left] >= onset_step - config.baseline_steps
        row: dict[str, object] = {"false_alarms": int((~near).sum()), "quiet_steps": int(quiet.sum())}
        if len(alarms):
            which = int(np.flatnonzero(near)[0]) if near.any() else 0
            row |= {
                "left_step": step[left[which]],
                "confirmed_step": step[alarms[which]],
                "direction": "up" if smooth[left[which]] > high[left[which]] else "down",
                "lead_steps": onset_step - step[left[which]] if near.any() else None,
            }
        rows[name] = row
    columns = ["left_step", "confirmed_step", "direction", "lead_steps", "false_alarms", "quiet_steps"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.astype({column: "Int64" for column in columns if column != "direction"})


def _bands(values: np.ndarray, config: CollapseConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The trailing mean of a series and the ends of its baseline's band, each (steps,); NaN where there is none."""
    series = pd.Series(values)
    smooth = series.rolling(config.smoothing_steps, min_periods=1).mean().to_numpy()
    n_parts = min(BASELINE_PARTS, config.baseline_steps)
    length = config.baseline_steps // n_parts
    means = series.rolling(length, min_periods=1).mean()
    means[: length - 1] = np.nan
    shifts = config.smoothing_steps + np.arange(n_parts) * length
    parts = np.stack([means.shift(shift).to_numpy() for shift in shifts])
    centres = config.smoothing_steps / 2 - shifts - length / 2  # in steps, from the middle of the smoothed ones

    offsets = centres - centres.mean()
    slope = offsets @ parts / (offsets @ offsets)
    middle = parts.mean(axis=0)
    rest = parts - middle - offsets[:, None] * slope
    freedom = n_parts - 2
    variance = (rest**2).sum(axis=0) / freedom
    leverage = 1 / n_parts + centres.mean() ** 2 / (offsets @ offsets)
    error = np.sqrt(variance * (leverage + length / config.smoothing_steps))
    predicted = middle - centres.mean() * slope
    rounding = 1e-9 * np.abs(predicted)  # a constant has no scatter
    half = t.isf(norm.sf(config.warning_standard_errors), freedom) * error + rounding
    return smooth, predicted - half, predicted + half


def _drawn(step, reward, truncated, zero_variance) -> list[np.ndarray]:
    """The series as float64, checked, without the steps that have no reward."""
    step, reward, *shares = checked(step, reward=reward, truncated=truncated, zero_variance=zero_variance)
    drawn = ~np.isnan(reward)
    arrays = [step[drawn], reward[drawn], *(values[drawn] for values in shares)]
    for name, values in zip(("reward", "truncated", "zero_variance"), arrays[1:], strict=True):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: not finite at step {arrays[0][~np.isfinite(values)][0]}; give a finite value.")
    return arrays


def _first_held(candidate: np.ndarray, levels: Levels, patience: np.ndarray) -> int | None:
    """Index at which candidates in a row, all of them below the best level, first last as long as the patience."""
    held, last = 0, -2
    for at in np.flatnonzero(candidate):
        held = held * (at == last + 1) + 1 if levels.dropped(at) else 0
        last = at
        if held >= patience[at]:
            return int(at)
    return None


def _crossing(series: np.ndarray, limit: float, window: int) -> int:
    """First index at which a noisy series that goes from above `limit` to below it has crossed it.

    The index comes from the least-squares fit of a ramp: constant, linear, constant. A ramp fits a jump and a slow
    change alike. The fit starts where the partial sums of (series - limit) are highest: the least-squares fit of any
    falling curve crosses the limit there. It starts once as a jump and once as a change over a whole window.
    """
    count = len(series)
    index = np.arange(count)
    middle = int(np.argmax(np.cumsum(series - limit)[:-1])) + 1
    fits = [
        least_squares(
            lambda ramp: np.interp(index, [ramp[2] - ramp[3] / 2, ramp[2] + ramp[3] / 2], ramp[:2]) - series,
            x0=[series[:middle].mean(), series[middle:].mean(), middle - 0.5, np.clip(width, 1, 2 * count)],
            bounds=([-np.inf, -np.inf, 0, 1], [np.inf, np.inf, count, 2 * count]),
            x_scale=[0.1, 0.1, 10, 30],
            diff_step=1e-3,
        )
        for width in (2, window)
    ]
    before, after, middle, width = min(fits, key=lambda fit: fit.cost).x
    crossed = middle - width / 2 + width * np.clip((limit - before) / (after - before), 0, 1)
    return int(np.clip(np.ceil(crossed), 0, count - 1))
