"""Assembles report.json."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from arc_precision.config.collapse import CollapseConfig
from arc_precision.config.report import ReportSlice, declared
from arc_precision.contracts.layout import Checkpoint, Evaluated, Run
from arc_precision.report import intervals
from arc_precision.report.cards import tasks_section
from arc_precision.report.causes import audited_steps
from arc_precision.report.changes import changes_after_the_fact
from arc_precision.report.collapses import collapse_runs, collapse_section, excerpts
from arc_precision.report.curves import curves
from arc_precision.report.factors import factors_section
from arc_precision.report.kept_completions import kept_completions
from arc_precision.report.ladder import ladder_section, measures
from arc_precision.report.notes import missing, warnings
from arc_precision.report.origins import provenance
from arc_precision.report.results import Selection, find_results
from arc_precision.report.runs import DTYPE_KEYS, PRECISION_KEYS, RunRecord, differences, read_runs
from arc_precision.report.schema import (
    ArmRow,
    CollapseRun,
    Comparison,
    Detectable,
    Difference,
    Interval,
    Report,
    RunRow,
    Settings,
)
from arc_precision.report.task_scores import (
    TaskScores,
    common_dtype,
    compared_step,
    evaluation,
    matrix,
    read_task_scores,
    score_interval,
    seeds_of,
)
from arc_precision.report.verdict import outcome_of, verdict
from arc_precision.report.written_numbers import PLAIN_METRICS


def build_report(slice: ReportSlice, root: Path, files: list[Path] | None = None) -> Report:
    """Read the results under `root` (only `files`, if given) and compute all contents of the page.

    Raises:
        ValueError: a file follows another version of its contract, or the primary metric does not exist.
    """
    selection = Selection(slice.run_arms, slice.seeds, slice.evaluate_on, slice.max_steps)
    arms, slices = list(slice.run_arms), {arm: slice.arms[arm] for arm in slice.run_arms}
    rules = CollapseConfig.model_validate(slice.collapse)
    results = find_results(root, files, selection)
    records = read_runs(results, selection.runs(), slice.max_steps)
    scored = read_task_scores(results)
    dtype = common_dtype(scored, arms)
    _check_metric(slice.report.primary_metric, scored)

    settings = _settings(slice, dtype)
    collapsed = collapse_runs(records, rules)
    comparisons = _comparisons(slice, scored, dtype)
    step = max((c.step for c in comparisons), default=_last_step(scored))
    arm_rows = [_arm_row(slice, arm, records, collapsed, scored, dtype, step) for arm in arms]
    run_rows = _run_rows(slice, records, collapsed, scored, dtype, step)
    differing = [
        Difference(key=key, values=values, precision=key in PRECISION_KEYS)
        for key, values in differences(slices).items()
    ]
    tables = evaluation(scored, slice.report, dtype, arms)
    texts = excerpts(results, collapsed, slice.report.primary_set, dtype)
    training = kept_completions(results, collapsed)
    collapse = collapse_section(collapsed, arms, slice.report, rules, texts, training)
    changes = changes_after_the_fact(list(records.values()), declared(slice))
    return Report(
        experiment=slice.experiment,
        title=slice.report.title,
        settings=settings,
        verdict=verdict(settings, arm_rows, run_rows, comparisons, differing, tables.rows, collapse, changes),
        warnings=warnings(settings, slices, records, tables.rows, collapse, changes),
        missing=missing(settings, records, results),
        arms=arm_rows,
        runs=run_rows,
        comparisons=comparisons,
        differences=differing,
        ladder=ladder_section(
            slices, records, arm_rows, run_rows, comparisons, slice.report.mismatch_steps, slice.report.confidence
        ),
        factors=factors_section(slice, scored, dtype, collapsed),
        curves=curves({run: r.steps for run, r in records.items()}, arms, slice.report.smoothing_steps),
        mismatch=audited_steps(results, arms),
        evaluation=tables,
        tasks=tasks_section(results, scored, arms, step, dtype),
        collapse=collapse,
        provenance=provenance(results, records, slices, slice.experiment),
    )


def _check_metric(metric: str, scored: dict[Evaluated, TaskScores]) -> None:
    known = list(dict.fromkeys(name for scores in scored.values() for name in scores.metrics))
    if known and metric not in known:
        raise ValueError(f"report.primary_metric: '{metric}' is not measured; write one of {', '.join(known)}")


def _settings(slice: ReportSlice, dtype: str | None) -> Settings:
    return Settings(
        baseline_arm=slice.report.baseline_arm,
        primary_set=slice.report.primary_set,
        primary_metric=slice.report.primary_metric,
        confidence=slice.report.confidence,
        bootstrap_samples=slice.report.bootstrap_samples,
        smoothing_steps=slice.report.smoothing_steps,
        max_steps=slice.max_steps,
        arms=list(slice.run_arms),
        seeds=list(slice.seeds),
        sets=list(slice.evaluate_on),
        common_dtype=dtype,
    )


def _last_step(scored: dict[Evaluated, TaskScores]) -> int | None:
    return max((e.checkpoint.step for e in scored), default=None)


def _comparisons(slice: ReportSlice, scored: dict[Evaluated, TaskScores], dtype: str | None) -> list[Comparison]:
    others = [arm for arm in slice.run_arms if arm != slice.report.baseline_arm]
    found = [_comparison(slice, scored, dtype, arm, len(others)) for arm in others] if dtype else []
    return [comparison for comparison in found if comparison is not None]


def _comparison(
    slice: ReportSlice, scored: dict[Evaluated, TaskScores], dtype: str, arm: str, n_comparisons: int
) -> Comparison | None:
    report, baseline = slice.report, slice.report.baseline_arm
    name, metric = report.primary_set, report.primary_metric
    step = compared_step(scored, [arm, baseline], name, dtype)
    if step is None:
        return None
    seeds = sorted(set(seeds_of(scored, arm, step, name, dtype)) & set(seeds_of(scored, baseline, step, name, dtype)))
    if not seeds:
        return None
    values = matrix(scored, arm, seeds, step, name, dtype, metric)
    baseline_values = matrix(scored, baseline, seeds, step, name, dtype, metric)
    difference = (values - baseline_values).to_numpy(dtype=float).T
    # Bonferroni: together, the intervals of all comparisons hold at the configured level.
    together = 1 - (1 - report.confidence) / n_comparisons
    n_tasks = intervals.complete(difference).shape[1]
    if n_tasks == 0:
        return None
    bounds = intervals.UNBOUNDED if metric in PLAIN_METRICS else intervals.DIFFERENCE_OF_SHARES
    over_seeds = intervals.over_seeds(difference, together, bounds)
    detectable = intervals.detectable(difference, together, bounds)
    return Comparison(
        arm=arm,
        baseline=baseline,
        step=step,
        n_seeds=len(seeds),
        n_tasks=n_tasks,
        score=np.nanmean(values.to_numpy(dtype=float)),
        baseline_score=np.nanmean(baseline_values.to_numpy(dtype=float)),
        over_tasks=intervals.over_tasks(difference, together, report.bootstrap_samples, report.seed, bounds),
        over_seeds=over_seeds,
        by_seed=list(np.nanmean(difference, axis=1)),
        detectable=None if detectable is None else Detectable(**asdict(detectable)),
        outcome=outcome_of(over_seeds),
    )


def _arm_row(
    slice: ReportSlice,
    arm: str,
    records: dict[Run, RunRecord],
    collapsed: list[CollapseRun],
    scored: dict[Evaluated, TaskScores],
    dtype: str | None,
    step: int | None,
) -> ArmRow:
    ours = [record for run, record in records.items() if run.arm == arm]
    states = _states(ours, collapsed)
    facts = [record.facts["observed"] for record in ours if record.facts]
    mismatch = pd.Series([record.mean("mismatch/logp_diff_abs_mean") for record in ours], dtype=float)
    hours = [record.hours for record in ours if record.hours is not None]
    gpu_hours = [record.gpu_hours for record in ours if record.gpu_hours is not None]
    return ArmRow(
        name=arm,
        is_baseline=arm == slice.report.baseline_arm,
        trainer_dtype=slice.arms[arm]["trainer_dtype"],
        sampler_dtype=slice.arms[arm]["sampler_dtype"],
        trainer_observed=_joined(record.trainer_observed for record in ours if record.facts),
        sampler_observed=_joined(fact["sampler_dtype"] for fact in facts),
        seeds_planned=len(ours),
        seeds_found=sum(record.n_steps > 0 for record in ours),
        steps_min=min(record.n_steps for record in ours),
        steps_max=max(record.n_steps for record in ours),
        states={state: states.count(state) for state in dict.fromkeys(states)},
        onsets=[run.onset_step for run in collapsed if run.arm == arm and run.onset_step is not None],
        score=_arm_score(slice, scored, arm, dtype, step),
        logp_diff_abs_mean=Interval(value=mismatch.mean(), low=mismatch.min(), high=mismatch.max()),
        hours=sum(hours) if hours else None,
        gpu_hours=sum(gpu_hours) if gpu_hours else None,
    )


def _states(records: list[RunRecord], collapsed: list[CollapseRun]) -> list[str]:
    by_rule = {(run.arm, run.seed): run.state for run in collapsed}
    return [by_rule.get(record.run, record.state) for record in records]


def _joined(values) -> str | None:
    return ", ".join(sorted({str(value) for value in values})) or None


def _arm_score(slice, scored, arm: str, dtype: str | None, step: int | None) -> Interval | None:
    report = slice.report
    seeds = seeds_of(scored, arm, step, report.primary_set, dtype)
    if not seeds:
        return None
    values = matrix(scored, arm, seeds, step, report.primary_set, dtype, report.primary_metric)
    return score_interval(values, report, report.primary_metric)


def _run_rows(
    slice: ReportSlice,
    records: dict[Run, RunRecord],
    collapsed: list[CollapseRun],
    scored: dict[Evaluated, TaskScores],
    dtype: str | None,
    step: int | None,
) -> list[RunRow]:
    mismatch_steps = slice.report.mismatch_steps
    applied = {run: int(r.steps["applied_steps"].iloc[-1]) for run, r in records.items() if len(r.steps)}
    equal = min(applied.values(), default=0)
    rows = []
    for record, state in zip(records.values(), _states(list(records.values()), collapsed), strict=True):
        run, arm_slice = record.run, slice.arms[record.run.arm]
        key = Evaluated(Checkpoint(run.arm, run.seed, step), slice.report.primary_set, dtype)
        observed = record.facts["observed"] if record.facts else {}
        rows.append(
            RunRow(
                arm=run.arm,
                seed=run.seed,
                state=state,
                stopped_at=record.stopped_at,
                steps=record.n_steps,
                applied_steps=applied.get(run),
                asked={key: arm_slice[key] for key in DTYPE_KEYS},
                observed={name: str(value) for name, value in observed.items() if value is not None},
                reward_final=record.mean("reward_mean", last=slice.report.smoothing_steps),
                reward_at_equal_updates=record.mean(
                    "reward_mean", until_applied=equal, last=slice.report.smoothing_steps
                ),
                logp_diff_abs_mean=record.mean("mismatch/logp_diff_abs_mean"),
                seq_log_ratio_std=measures(record.steps, mismatch_steps)["spread"] if record.n_steps else None,
                score=scored[key].tasks[slice.report.primary_metric].mean() if key in scored else None,
                hours=record.hours,
                gpu_hours=record.gpu_hours,
            )
        )
    return rows
