"""Training curves: every run, thinned to a readable number of points, and mean and spread over the seeds of an arm."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from arc_precision.contracts.layout import Run
from arc_precision.contracts.steps import STEP, TIMING
from arc_precision.mismatch.metric_dictionary import ESS_SEQUENCES, METRICS
from arc_precision.mismatch.metrics import effective_share
from arc_precision.report.schema import ArmCurve, Curves, Panel, RunAxis, RunValues

MAX_POINTS = 400  # of a run in a panel: about as many as a screen can show
MAX_POINTS_IN_ALL = 800  # of all runs in a panel: with more the page would grow beyond two megabytes

ESS = "mismatch/ess_seq"  # computed from the sequences of several steps together, not as a mean over steps

_MISMATCH = {f"mismatch/{metric.key}": metric for metric in METRICS}


@dataclass(frozen=True)
class _Panel:
    key: str  # column of steps-*.jsonl or timing-*.jsonl
    label: str
    unit: str = ""
    log: bool = False
    text: str = ""  # replaces the contract's own description


PANELS = (
    _Panel("reward_mean", "Reward"),
    _Panel("solved_share", "Solved", "share of completions"),
    _Panel("mismatch/logp_diff_abs_mean", "Mismatch: mean |d|", "nats", log=True),
    _Panel("mismatch/kl_sampler_trainer_k3", "Mismatch: KL(sampler‖trainer)", "nats", log=True),
    _Panel(ESS, "Effective sample size of sequences", "share"),
    _Panel("grad_norm", "Gradient norm", log=True, text="Norm of the gradient before clipping, after unscaling."),
    _Panel("loss_scale", "Loss scale", log=True, text="Loss scale of float16 training; other dtypes have none."),
    _Panel("skipped", "Skipped updates", "share of steps", text="Updates skipped because of an overflow."),
    _Panel("entropy", "Entropy", "nats per token", text="Mean entropy of the policy at the sampled positions."),
    _Panel(
        "kl_base",
        "KL to the base model",
        "nats per token",
        log=True,
        text="k3 estimate of the KL divergence from the base model.",
    ),
    _Panel("completion_tokens_mean", "Completion length", "tokens"),
    _Panel("truncated_share", "Truncated completions", "share of completions"),
    _Panel("frac_reward_zero_std", "Groups without a gradient", "share of groups"),
    _Panel("lora_b_subnormal_share", "LoRA-B below float16's normal range", "share of entries"),
    _Panel("step_s", "Step time", "s"),
)


def curves(runs: dict[Run, pd.DataFrame], arms: list[str], smoothing_steps: int) -> Curves:
    """Panels of all columns in which any run has numbers.

    `runs` maps a run to its steps: one row per step, sorted, columns of both step contracts. Every point is the mean
    over the steps before it: `smoothing_steps`, or the steps between two points if these are more. Values that are not
    finite are left out of the mean. The effective sample size is that of all sequences of these steps.
    """
    longest = max((len(frame) for frame in runs.values()), default=0)
    in_all = sum(map(len, runs.values()))
    every = max(1, -(-longest // MAX_POINTS), -(-in_all // MAX_POINTS_IN_ALL))
    window = max(every, smoothing_steps)
    # The same steps in every run, so that means over seeds are means over the same seeds.
    thinned = {run: frame[frame["step"] % every == 0] for run, frame in runs.items() if len(frame)}
    panels = []
    for panel in PANELS:
        series = {
            run: _smooth(runs[run], panel.key, window, every) for run in thinned if panel.key in runs[run].columns
        }
        series = {run: values for run, values in series.items() if values.notna().any()}
        if series:
            pooled = min(_sequences(runs[run], window).median() for run in series) if panel.key == ESS else None
            panels.append(_drawn(panel, series, arms, pooled))
    return Curves(
        steps_per_point=window,
        axes=[
            RunAxis(
                arm=run.arm,
                seed=run.seed,
                step=list(frame["step"]),
                applied_steps=list(frame["applied_steps"]),
                hours=list(runs[run]["step_s"].cumsum().loc[frame.index] / 3600) if "step_s" in frame else [],
            )
            for run, frame in thinned.items()
        ],
        panels=panels,
    )


def _smooth(frame: pd.DataFrame, key: str, window: int, every: int) -> pd.Series:
    values = pd.Series(frame[key].astype(float).to_numpy(), index=frame["step"])
    smooth = _pooled_ess(frame, window) if key == ESS else values.rolling(window, min_periods=1).mean()
    # A trailing mean must not hide that a run has stopped giving numbers.
    return smooth.where(values.notna())[values.index % every == 0]


def _sequences(frame: pd.DataFrame, window: int) -> pd.Series:
    """Sequences with a finite ratio in the last `window` steps, by step."""
    counts = frame["mismatch/sequence_count"] - frame["mismatch/nonfinite_sequence_count"]
    return pd.Series(counts.astype(float).to_numpy(), index=frame["step"]).rolling(window, min_periods=1).sum()


def _pooled_ess(frame: pd.DataFrame, window: int) -> pd.Series:
    """Effective sample size of the sequences of the last `window` steps together, by step."""

    def log_sums(key: str) -> np.ndarray:
        values = frame[key].astype(float).fillna(-np.inf).to_numpy()
        padded = np.concatenate([np.full(window - 1, -np.inf), values])
        return logsumexp(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)

    sums = (log_sums(f"mismatch/{key}") for key in ("seq_log_sum_ratio", "seq_log_sum_ratio_sq"))
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN without sequences
        return pd.Series(effective_share(*sums, _sequences(frame, window)), index=frame["step"])


def _drawn(panel: _Panel, series: dict[Run, pd.Series], arms: list[str], sequences: float | None) -> Panel:
    """`sequences`: the number behind each point, for panels in which it matters."""
    metric = _MISMATCH.get(panel.key)
    description = panel.text or (STEP | TIMING).get(panel.key, "")
    healthy = metric.healthy if metric and metric.healthy != "-" else ""
    if metric:
        description = f"{_sentence(metric.meaning)} Formula: {metric.formula}."
    if sequences is not None:
        description += (
            f" Each point is of about {sequences:.0f} sequences together, so it cannot fall below {1 / sequences:.2g}."
        )
        healthy = healthy if sequences >= ESS_SEQUENCES else ""
    return Panel(
        key=panel.key,
        label=panel.label,
        description=description,
        unit=panel.unit,
        healthy=healthy,
        log=panel.log,
        runs=[RunValues(arm=run.arm, seed=run.seed, value=list(values)) for run, values in series.items()],
        arms=[_arm_curve(arm, series) for arm in arms if any(run.arm == arm for run in series)],
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _arm_curve(arm: str, series: dict[Run, pd.Series]) -> ArmCurve:
    table = pd.DataFrame({run.seed: values for run, values in series.items() if run.arm == arm}).sort_index()
    return ArmCurve(
        arm=arm,
        step=list(table.index),
        mean=list(table.mean(axis=1)),
        low=list(table.min(axis=1)),
        high=list(table.max(axis=1)),
        n_seeds=list(table.notna().sum(axis=1)),
    )
