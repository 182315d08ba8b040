"""Collapse of a run: when it began, by which rule, whether it recovered, and what gave warning.

Pure functions of per-step series, one value per optimizer step from the run's first step on. `detect` on the rows so
far is also what a trainer calls to stop early: what it finds does not change when more rows follow, except that a
recovery may be added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from arc_precision.config.collapse import CollapseConfig

Rule = Literal["reward", "truncation", "zero_variance"]


@dataclass(frozen=True)
class Collapse:
    """A run's first collapse."""

    rule: Rule
    onset_step: int  # where it began, as seen from `detected_step`
    detected_step: int  # where the rule had held for `patience_steps`
    threshold: float  # what the series of the rule crossed
    running_max: float  # of the smoothed reward, until `detected_step`
    recovered_step: int | None


def detect(
    step: np.ndarray, reward: np.ndarray, truncated: np.ndarray, zero_variance: np.ndarray, config: CollapseConfig
) -> Collapse | None:
    """The first collapse in the series, or None.

    All arrays have shape (steps,): consecutive step numbers, mean reward, share of truncated completions, share of
    groups whose rewards are all equal. The rule that holds first for `patience_steps` is the one reported; `reward`
    before the others in a tie.

    The smoothed series that the rules look at lags behind. So once a rule has fired, onset (and recovery) is located in
    the raw series: where a ramp fitted to it crosses the threshold (see `_crossing`).

    Raises ValueError if steps are not consecutive or a value is not finite.
    """
    step, reward, truncated, zero_variance = _checked(
        step, reward=reward, truncated=truncated, zero_variance=zero_variance
    )
    count, window = len(step), config.smoothing_steps
    if count < config.first_possible_step:
        return None
    settled = np.arange(count) >= max(config.min_steps, window - 1)

    smooth_reward = _trailing_mean(reward, window)
    best = np.fmax.accumulate(smooth_reward)
    gained = best - config.reward_floor
    collapse_limit = config.reward_floor + config.reward_share * gained
    recovery_limit = config.reward_floor + config.recovery_share * gained
    noise = _standard_error_at_best(reward, best, window)
    dropped = best - smooth_reward > config.min_drop_standard_errors * noise

    smooth_truncated = _trailing_mean(truncated, window)
    smooth_equal = _trailing_mean(zero_variance, window)
    many_truncated = settled & (smooth_truncated > config.truncation_share)
    many_equal = settled & (smooth_equal > config.zero_variance_share)
    holds: dict[Rule, np.ndarray] = {
        "reward": settled & (smooth_reward < collapse_limit) & dropped & (gained >= config.min_running_max),
        "truncation": many_truncated & _absent_before(many_truncated, settled),
        "zero_variance": many_equal & _absent_before(many_equal, settled) & dropped & (smooth_reward < recovery_limit),
    }
    fired = {rule: _first_stretch(held, config.patience_steps) for rule, held in holds.items()}
    fired = {rule: detected for rule, detected in fired.items() if detected is not None}
    if not fired:
        return None
    rule = min(fired, key=fired.__getitem__)
    detected = fired[rule]

    # The rule's series, turned so that low is bad, with the limits it crosses in collapse and in recovery.
    series, smooth, limit, healthy_limit = {
        "reward": (reward, smooth_reward, collapse_limit[detected], recovery_limit[detected]),
        "truncation": (-truncated, -smooth_truncated, -config.truncation_share, -config.truncation_share),
        "zero_variance": (-zero_variance, -smooth_equal, -config.zero_variance_share, -config.zero_variance_share),
    }[rule]
    healthiest = int(np.nanargmax(smooth[: detected + 1]))
    start = max(healthiest - window + 1, 0)
    onset = start + _crossing(-series[start : detected + 1], -limit, window)
    recovered = None
    healthy_again = _first_stretch(smooth[detected:] >= healthy_limit, config.patience_steps)
    if healthy_again is not None:
        recovered = onset + _crossing(series[onset : detected + healthy_again + 1], healthy_limit, window)
    return Collapse(
        rule=rule,
        onset_step=int(step[onset]),
        detected_step=int(step[detected]),
        threshold=float(limit if rule == "reward" else -limit),
        running_max=float(best[detected]),
        recovered_step=None if recovered is None else int(step[recovered]),
    )


def failed_step(step: np.ndarray, loss: np.ndarray, config: CollapseConfig) -> int | None:
    """The first of `nonfinite_steps` steps in a row whose loss is not finite, or None.

    Such a run is failed, which is another state than collapsed. `step` and `loss` have shape (steps,); a missing loss
    is NaN.
    """
    last = _first_stretch(~np.isfinite(np.asarray(loss, dtype=np.float64)), config.nonfinite_steps)
    return None if last is None else int(step[last - config.nonfinite_steps + 1])


def early_warnings(
    step: np.ndarray, metrics: Mapping[str, np.ndarray], onset_step: int | None, config: CollapseConfig
) -> pd.DataFrame:
    """Which metrics left their own baseline before onset, and how long before.

    `metrics` maps names to series of shape (steps,); NaN where a step has no value. A metric's baseline is its mean
    over the `baseline_steps` after `min_steps`; the band around it is `warning_standard_errors` wide on either side. A
    warning is given when the trailing mean has been outside for `patience_steps`. Without an onset the whole run is
    searched, which shows how often the same signs come to nothing.

    One row per metric: `baseline`, `band_low`, `band_high`, `left_step` (first step outside), `confirmed_step` (end of
    the patience; at the latest the onset), `direction` ("up" or "down") and `lead_steps`, from leaving to onset.
    Without a warning these are missing; so are all when the baseline has fewer than two values.
    """
    step, *series = _checked(step, finite=False, **metrics)
    first = config.min_steps
    after = first + config.baseline_steps
    searched = np.arange(len(step)) >= after
    if onset_step is not None:
        searched &= step <= onset_step
    rows = {}
    for name, values in zip(metrics, series, strict=True):
        baseline = values[first:after][np.isfinite(values[first:after])]
        row: dict[str, object] = {}
        if baseline.size > 1:
            error = baseline.std(ddof=1) * np.sqrt(1 / config.smoothing_steps + 1 / baseline.size)
            low, high = baseline.mean() + np.array([-1, 1]) * config.warning_standard_errors * error
            row = {"baseline": baseline.mean(), "band_low": low, "band_high": high}
            smooth = pd.Series(values).rolling(config.smoothing_steps, min_periods=1).mean().to_numpy()
            confirmed = _first_stretch(((smooth < low) | (smooth > high)) & searched, config.patience_steps)
            if confirmed is not None:
                left = confirmed - config.patience_steps + 1
                row |= {
                    "left_step": step[left],
                    "confirmed_step": step[confirmed],
                    "direction": "up" if smooth[left] > high else "down",
                    "lead_steps": None if onset_step is None else onset_step - step[left],
                }
        rows[name] = row
    columns = ["baseline", "band_low", "band_high", "left_step", "confirmed_step", "direction", "lead_steps"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.astype({"left_step": "Int64", "confirmed_step": "Int64", "lead_steps": "Int64"})


def _checked(step: np.ndarray, finite: bool = True, **series: np.ndarray) -> list[np.ndarray]:
    step = np.asarray(step)
    if (np.diff(step) != 1).any():
        raise ValueError("step: the series must have one row per optimizer step, in order and without gaps.")
    arrays = [step]
    for name, values in series.items():
        values = np.asarray(values, dtype=np.float64)
        if values.shape != step.shape:
            raise ValueError(f"{name}: {values.shape[0]} values for {len(step)} steps; give one per step.")
        if finite and not np.isfinite(values).all():
            bad = step[~np.isfinite(values)][0]
            raise ValueError(f"{name}: not finite at step {bad}; every step must have a finite value.")
        arrays.append(values)
    return arrays


def _trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    return pd.Series(values).rolling(window).mean().to_numpy()


def _standard_error_at_best(reward: np.ndarray, best: np.ndarray, window: int) -> np.ndarray:
    """Standard error of the smoothed reward, per step, from the window in which the running maximum was reached."""
    deviation = pd.Series(reward).rolling(window).std(ddof=0)
    is_new_best = pd.Series(best).diff() != 0
    return deviation.where(is_new_best).ffill().to_numpy() / np.sqrt(window)


def _absent_before(condition: np.ndarray, settled: np.ndarray) -> np.ndarray:
    """Whether a condition has been absent before: what was bad from the start has not collapsed."""
    return np.logical_or.accumulate(settled & ~condition)


def _first_stretch(condition: np.ndarray, length: int) -> int | None:
    """Index of the last step of the first `length` steps in a row on which the condition holds."""
    index = np.arange(len(condition))
    last_break = np.maximum.accumulate(np.where(condition, -1, index))
    full = np.flatnonzero(index - last_break >= length)
    return int(full[0]) if full.size else None


def _crossing(series: np.ndarray, limit: float, window: int) -> int:
    """First index at which a noisy series that goes from below `limit` to above it has crossed it.

    That of the least-squares fit of a ramp: constant, linear, constant. It follows a jump and a slow change alike. The
    fit starts from where the partial sums of (series - limit) are lowest, which is where the least-squares fit of any
    rising curve crosses the limit, once as a jump and once as a change over a whole window.
    """
    count = len(series)
    index = np.arange(count)
    middle = int(np.argmin(np.cumsum(series - limit)[:-1])) + 1
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
