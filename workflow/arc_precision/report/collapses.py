"""Collapse of every run by the rules of the configuration, early signs, and how long the arms survive."""

from statistics import median
from typing import get_args

import numpy as np
import pandas as pd

from arc_precision.collapse.detection import detect, early_warnings, first_possible_step
from arc_precision.config.collapse import CollapseConfig
from arc_precision.config.report import ReportConfig
from arc_precision.contracts.layout import Checkpoint, Evaluated, Run
from arc_precision.contracts.parquet import read_table
from arc_precision.contracts.samples import SAMPLES
from arc_precision.contracts.tasks import TASKS
from arc_precision.report.results import Results
from arc_precision.report.runs import RunRecord
from arc_precision.report.schema import (
    Alarms,
    Collapse,
    CollapseRun,
    CompletionExcerpt,
    EarlyWarning,
    Endpoint,
    KeptOfRun,
    LogRankTest,
    Sign,
    Survival,
)
from arc_precision.statistics import kaplan_meier, log_rank

# Metrics that may leave their baseline before the reward falls.
SIGNS = (
    "mismatch/logp_diff_abs_mean",
    "mismatch/kl_sampler_trainer_k3",
    "mismatch/ess_seq",
    "grad_norm",
    "entropy",
    "kl_base",
    "completion_tokens_mean",
    "truncated_share",
    "unique_token_share",
    "frac_reward_zero_std",
    "valid_share",
)
EXCERPT_CHARACTERS = 1500
EXCERPT_TASKS = 2


def collapse_runs(records: dict[Run, RunRecord], rules: CollapseConfig) -> list[CollapseRun]:
    """The result of the rules for every run that has steps."""
    return [_collapse_run(record, rules) for record in records.values() if len(record.steps)]


def _collapse_run(record: RunRecord, rules: CollapseConfig) -> CollapseRun:
    steps = record.steps
    step, *series = (
        steps[key].astype(float).to_numpy()
        for key in ("step", "reward_mean", "truncated_share", "frac_reward_zero_std")
    )
    found = detect(step, *series, rules)
    signs = {key: steps[key].astype(float).to_numpy() for key in SIGNS if key in steps}
    searched = early_warnings(step, signs, found.onset_step if found else None, rules)
    left = searched.dropna(subset="left_step")
    return CollapseRun(
        arm=record.run.arm,
        seed=record.run.seed,
        state="collapsed" if found else record.state,
        steps=record.n_steps,
        onset_step=found.onset_step if found else None,
        detected_step=found.detected_step if found else None,
        rule=found.rule if found else None,
        threshold=found.threshold if found else None,
        running_max=found.running_max if found else None,
        recovered_step=found.recovered_step if found else None,
        warnings=[
            EarlyWarning(
                metric=metric,
                direction=row["direction"],
                left_step=int(row["left_step"]),
                lead_steps=None if pd.isna(row["lead_steps"]) else int(row["lead_steps"]),
            )
            for metric, row in left.sort_values("left_step").iterrows()
        ],
        alarms=[
            Alarms(metric=metric, false=int(row["false_alarms"]), quiet_steps=int(row["quiet_steps"]))
            for metric, row in searched.iterrows()
        ],
    )


def excerpts(results: Results, runs: list[CollapseRun], name: str, dtype: str | None) -> list[CompletionExcerpt]:
    """Completions for the same tasks at the last checkpoint before a collapse and the first after it."""
    found = []
    for run in runs:
        if run.onset_step is None:
            continue
        steps = sorted(
            e.checkpoint.step
            for e in results.samples
            if e.checkpoint[:2] == (run.arm, run.seed) and (e.set, e.dtype) == (name, dtype)
        )
        around = {
            "before": max((step for step in steps if step < run.onset_step), default=None),
            "after": min((step for step in steps if step >= run.onset_step), default=None),
        }
        for when, step in around.items():
            if step is not None:
                evaluated = Evaluated(Checkpoint(run.arm, run.seed, step), name, dtype)
                found += _excerpts(results, evaluated, when)
    return found


def _excerpts(results: Results, evaluated: Evaluated, when: str) -> list[CompletionExcerpt]:
    names = read_table(results.tasks[evaluated.set], TASKS, ["row_id", "task_id"]).to_pandas()
    names = names.set_index("row_id")["task_id"].to_dict()
    samples = read_table(
        results.samples[evaluated], SAMPLES, ["row_id", "sample", "completion", "token_ids", "truncated"]
    ).to_pandas()
    chosen = samples[samples["sample"] == 0].head(EXCERPT_TASKS)
    return [
        CompletionExcerpt(
            arm=evaluated.checkpoint.arm,
            seed=evaluated.checkpoint.seed,
            step=evaluated.checkpoint.step,
            when=when,
            set=evaluated.set,
            task_id=names[row.row_id],
            truncated=row.truncated,
            tokens=len(row.token_ids),
            text=row.completion[:EXCERPT_CHARACTERS],
            cut=len(row.completion) > EXCERPT_CHARACTERS,
        )
        for row in chosen.itertuples()
    ]


def survival(runs: list[CollapseRun], arm: str, endpoint: Endpoint, confidence: float) -> Survival | None:
    """Kaplan-Meier estimate of an arm; None with fewer than two runs.

    A run that has not come to the end point is censored at its last step. If collapse alone is the end point, a failed
    run is censored too; the second end point shows whether that hides a difference.
    """
    steps, ended = times(runs, arm, endpoint)
    curve = kaplan_meier(steps, ended, confidence).curve
    if curve is None:
        return None
    return Survival(
        arm=arm,
        endpoint=endpoint,
        step=list(curve["step"]),
        share=list(curve["survival"]),
        low=list(curve["low"]),
        high=list(curve["high"]),
        at_risk=list(curve["at_risk"]),
        n_runs=len(steps),
        n_ended=int(ended.sum()),
    )


def log_rank_test(runs: list[CollapseRun], arm: str, baseline: str, endpoint: Endpoint, seed: int) -> LogRankTest:
    """Whether two arms come to an end point at different steps, by permutation."""
    test = log_rank(*times(runs, arm, endpoint), *times(runs, baseline, endpoint), seed=seed)
    return LogRankTest(
        arm=arm,
        baseline=baseline,
        endpoint=endpoint,
        statistic=test.statistic,
        p_value=test.p_value,
        p_smallest=test.p_smallest,
        reason=test.reason,
    )


def times(runs: list[CollapseRun], arm: str, endpoint: Endpoint) -> tuple[np.ndarray, np.ndarray]:
    """Last step of every run, and whether it came to the end point there. The end point is its onset or its failure."""
    ours = [run for run in runs if run.arm == arm]
    steps = [run.steps if run.onset_step is None else run.onset_step for run in ours]
    ended = [
        run.onset_step is not None or (endpoint == "collapsed or failed" and run.state == "failed") for run in ours
    ]
    return np.array(steps, dtype=int), np.array(ended, dtype=bool)


def signs(runs: list[CollapseRun]) -> list[Sign]:
    """For each metric, the number of warnings before a collapse, their lead, and the number of false alarms."""
    collapsed = [run for run in runs if run.onset_step is not None]
    found = []
    for metric in SIGNS:
        leads = [w.lead_steps for run in collapsed for w in run.warnings if w.metric == metric]
        leads = [lead for lead in leads if lead is not None]
        alarms = [alarm for run in runs for alarm in run.alarms if alarm.metric == metric]
        false_alarms, quiet_steps = sum(a.false for a in alarms), sum(a.quiet_steps for a in alarms)
        if leads or false_alarms:
            found.append(
                Sign(
                    metric=metric,
                    warned_collapsed=len(leads),
                    collapsed=len(collapsed),
                    lead_steps_median=median(leads) if leads else None,
                    false_alarms=false_alarms,
                    quiet_steps=quiet_steps,
                    false_alarms_per_1000_steps=1000 * false_alarms / quiet_steps if quiet_steps else None,
                )
            )
    return found


def collapse_section(
    runs: list[CollapseRun],
    arms: list[str],
    report: ReportConfig,
    rules: CollapseConfig,
    completions: list[CompletionExcerpt],
    training: list[KeptOfRun],
) -> Collapse:
    """The section of the page."""
    endpoints = get_args(Endpoint)
    curves = [survival(runs, arm, endpoint, report.confidence) for endpoint in endpoints for arm in arms]
    return Collapse(
        first_possible_step=first_possible_step(rules),
        rules=rules.model_dump(mode="json"),
        runs=runs,
        signs=signs(runs),
        survival=[curve for curve in curves if curve is not None],
        log_rank=[
            log_rank_test(runs, arm, report.baseline_arm, endpoint, report.seed)
            for endpoint in endpoints
            for arm in arms
            if arm != report.baseline_arm
        ],
        completions=completions,
        training=training,
    )
