"""Training curves: every run, thinned to a readable number of points, and mean and spread over the seeds of an arm."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from arc_precision.contracts.steps import STEP
from arc_precision.mismatch.metrics import METRICS
from arc_precision.report.schema import ArmCurve, Curve, RunCurve

MAX_POINTS = 400
_MISMATCH = {metric.key: metric.meaning for metric in METRICS}


@dataclass(frozen=True)
class Panel:
    """One curve of the page: `key` is a column of steps-*.jsonl or timing-*.jsonl."""

    key: str
    label: str
    unit: str = ""
    log: bool = False


PANELS = (
    Panel("reward_mean", "Reward"),
    Panel("solved_share", "Solved", "share of completions"),
    Panel("mismatch/logp_diff_abs_mean", "Mismatch, mean |d|", "nats", log=True),
    Panel("mismatch/kl_sampler_trainer_k3", "Mismatch, KL(sampler‖trainer), k3", "nats", log=True),
    Panel("mismatch/ess_seq", "Effective sample size of sequences", "share"),
    Panel("grad_norm", "Gradient norm", log=True),
    Panel("loss_scale", "Loss scale", log=True),
    Panel("skipped", "Skipped updates", "share of steps"),
    Panel("entropy", "Entropy", "nats"),
    Panel("kl_base", "KL to the base model", "nats", log=True),
    Panel("completion_tokens_mean", "Completion length", "tokens"),
    Panel("truncated_share", "Truncated", "share of completions"),
    Panel("frac_reward_zero_std", "Groups without a gradient", "share of groups"),
    Panel("step_s", "Step time", "s"),
)


def curves(runs: dict[tuple[str, int], pd.DataFrame], arms: list[str], smoothing_steps: int) -> list[Curve]:
    """A curve per panel that any run has numbers for. `runs` maps (arm, seed) to its steps, sorted, timing included."""
    found = []
    for panel in PANELS:
        series = {run: _series(frame, panel.key, smoothing_steps) for run, frame in runs.items() if panel.key in frame}
        series = {run: values for run, values in series.items() if values.notna().any()}
        if series:
            found.append(
                Curve(
                    key=panel.key,
                    label=panel.label,
                    description=_description(panel.key),
                    unit=panel.unit,
                    log=panel.log,
                    runs=[
                        RunCurve(arm=arm, seed=seed, step=list(values.index), value=list(values))
                        for (arm, seed), values in series.items()
                    ],
                    arms=[_arm_curve(arm, series) for arm in arms if any(run[0] == arm for run in series)],
                )
            )
    return found


def _description(key: str) -> str:
    if key.startswith("mismatch/"):
        return _MISMATCH[key.removeprefix("mismatch/")]
    return STEP.get(key) or "Wall time of the whole step."


def _series(frame: pd.DataFrame, key: str, smoothing_steps: int) -> pd.Series:
    """Moving mean over the last `smoothing_steps` steps, then at most MAX_POINTS of them; NaN where a step has none."""
    values = pd.Series(frame[key].astype(float).to_numpy(), index=frame["step"].astype(int))
    smooth = values.rolling(smoothing_steps, min_periods=1).mean().where(values.notna())
    every = -(-len(smooth) // MAX_POINTS)
    return smooth.iloc[every - 1 :: every]


def _arm_curve(arm: str, series: dict[tuple[str, int], pd.Series]) -> ArmCurve:
    table = pd.DataFrame({seed: values for (name, seed), values in series.items() if name == arm}).sort_index()
    counted = table.notna().sum(axis=1)
    return ArmCurve(
        arm=arm,
        step=[int(step) for step in table.index],
        mean=list(table.mean(axis=1)),
        low=list(table.min(axis=1)),
        high=list(table.max(axis=1)),
        n_seeds=[int(n) for n in np.asarray(counted)],
    )
