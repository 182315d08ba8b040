"""The ladder: arms ordered by precision or by a dose of noise, all on one axis, their measured mismatch.

The configured bits or noise order the arms of one ladder. The measured mismatch makes ladders comparable.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import logsumexp

from arc_precision.config.base import flat
from arc_precision.contracts.layout import Run
from arc_precision.mismatch.metrics import effective_share, step_design_effect
from arc_precision.report.runs import RunRecord
from arc_precision.report.schema import (
    ArmRow,
    Comparison,
    Interval,
    Ladder,
    LadderArm,
    LadderOrder,
    LadderRun,
    RunRow,
)
from arc_precision.report.written_numbers import enumeration, number

SIGNIFICAND_BITS = {"float32": 24, "float16": 11, "bfloat16": 8}  # the hidden bit included
FEWEST_RUNGS = 3  # the longest ladder must have as many: the verdict already compares two arms
MEASURES = ("spread", "logp_diff_abs_mean", "ess", "design_effect")


@dataclass(frozen=True)
class _Order:
    name: str
    keys: tuple[str, ...]  # the arms of a ladder differ in these alone
    rung: Callable[[dict[str, Any]], float | None]  # from a flat configuration; None: the arm stands on no rung


ORDERS = (
    _Order(
        "significand bits of trainer and sampler",
        ("trainer_dtype", "sampler_dtype"),
        lambda c: SIGNIFICAND_BITS[c["trainer_dtype"]] if c["trainer_dtype"] == c["sampler_dtype"] else None,
    ),
    _Order("noise on LoRA B", ("sampling.weight_noise",), lambda c: c["sampling.weight_noise"]),
    _Order("noise on logits, nats", ("sampling.logit_noise",), lambda c: c["sampling.logit_noise"]),
)


def ladder_section(
    slices: dict[str, dict[str, Any]],
    records: dict[Run, RunRecord],
    arms: list[ArmRow],
    runs: list[RunRow],
    comparisons: list[Comparison],
    steps: int,
    confidence: float,
) -> Ladder | None:
    """The section of the page; None where no ladder has enough rungs. The mismatch is that of the first `steps`."""
    orders = ladder_orders(slices)
    if not any(len(set(order.rungs)) >= FEWEST_RUNGS for order in orders):
        return None
    names = [arm for arm in slices if any(arm in order.arms for order in orders)]
    scores = {(run.arm, run.seed): run.score for run in runs}
    measured = [
        LadderRun(arm=run.arm, seed=run.seed, score=scores[run], **measures(record.steps, steps))
        for run, record in records.items()
        if run.arm in names and len(record.steps)
    ]
    differences = {comparison.arm: comparison for comparison in comparisons}
    rows = []
    for arm in (arm for arm in arms if arm.name in names):
        ours = [run for run in measured if run.arm == arm.name]
        sizes = {key: size_over_seeds([getattr(run, key) for run in ours], confidence) for key in MEASURES}
        found = differences.get(arm.name)
        rows.append(
            LadderArm(
                arm=arm.name,
                n_seeds=len(ours),
                score=arm.score,
                difference=found and found.over_seeds,
                outcome=found and found.outcome,
                **sizes,
            )
        )
    return Ladder(steps=steps, orders=orders, arms=rows, runs=measured, sentences=_sentences(rows, comparisons))


def ladder_orders(slices: dict[str, dict[str, Any]]) -> list[LadderOrder]:
    """Every set of two or more arms that differ only in the key that orders them, in that order."""
    words_of = {arm: flat(slice) for arm, slice in slices.items()}
    found = []
    for order in ORDERS:
        ladders: dict[str, dict[str, float]] = {}
        for arm, words in words_of.items():
            rest = {key: value for key, value in words.items() if key not in order.keys}
            if (rung := order.rung(words)) is not None:
                ladders.setdefault(json.dumps(rest, sort_keys=True), {})[arm] = rung
        for rungs in ladders.values():
            if len(set(rungs.values())) > 1:
                ordered = sorted(rungs, key=rungs.get)
                found.append(LadderOrder(by=order.name, arms=ordered, rungs=[rungs[arm] for arm in ordered]))
    return found


def measures(steps: pd.DataFrame, last: int) -> dict[str, float]:
    """The mismatch of a run over its steps up to `last`, all their sequences and tokens together.

    `spread`: standard deviation of the sequence log-ratio D, in nats. `logp_diff_abs_mean`: mean |d| per token, in
    nats. `ess`: effective sample size of sequences. `design_effect`: see `step_design_effect`. NaN where nothing was
    measured.
    """
    rows = steps[steps["step"] <= last]
    column = {key.removeprefix("mismatch/"): rows[key].astype(float) for key in rows if key.startswith("mismatch/")}
    sequences = column["sequence_count"] - column["nonfinite_sequence_count"]
    tokens = column["token_count"] - column["nonfinite_count"]
    mean, std = column["seq_log_ratio_mean"], column["seq_log_ratio_std"]
    known = (sequences > 0) & mean.notna()
    n_sequences, n_tokens = sequences[known].sum(), tokens[known].sum()
    if not n_sequences:
        return dict.fromkeys(MEASURES, float("nan"))
    center = (sequences * mean)[known].sum() / n_sequences
    square = (sequences * (std**2 + (mean - center) ** 2))[known].sum() / n_sequences
    sums = (logsumexp(column[key][known]) for key in ("seq_log_sum_ratio", "seq_log_sum_ratio_sq"))
    return {
        "spread": float(np.sqrt(square)),
        "logp_diff_abs_mean": float((tokens * column["logp_diff_abs_mean"])[known].sum() / n_tokens),
        "ess": float(effective_share(*sums, n_sequences)),
        "design_effect": step_design_effect(mean, std, sequences),
    }


def size_over_seeds(values: list[float | None], confidence: float) -> Interval:
    """Geometric mean over seeds, with Student's t of the logarithms; without ends for fewer than two seeds."""
    logs = np.log([value for value in values if value])
    if not len(logs):
        return Interval(value=None)
    mean = logs.mean()
    if len(logs) < 2:
        return Interval(value=np.exp(mean))
    half = stats.t.ppf((1 + confidence) / 2, len(logs) - 1) * stats.sem(logs)
    return Interval(value=np.exp(mean), low=np.exp(mean - half), high=np.exp(mean + half))


def _sentences(arms: list[LadderArm], comparisons: list[Comparison]) -> list[str]:
    """The arms that differ from the baseline, with their spread, as far as the comparisons allow."""
    if not comparisons:
        return ["No arm can be compared with the baseline yet."]
    baseline, found = comparisons[0].baseline, []
    for words, outcome in (("A difference from {} was found in", "difference"), ("None was found in", "no_difference")):
        ours = [arm for arm in arms if arm.outcome == outcome]
        if ours:
            names = [f"{arm.arm} (spread {number(arm.spread.value)})" for arm in ours if arm.spread.value is not None]
            names += [arm.arm for arm in ours if arm.spread.value is None]
            found.append(f"{words.format(baseline)} {enumeration(names)}.")
    if not found:
        return [f"With these seeds and tasks nothing can be said about a difference from {baseline}."]
    if any(arm.outcome == "no_difference" for arm in arms):
        found.append("Where none was found, the interval says how large one could still be.")
    return found
