"""Puts report.json together."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from arc_precision.config.report import ReportSlice
from arc_precision.contracts.scores import SCORES
from arc_precision.evaluation import METRICS, per_task
from arc_precision.report.curves import curves
from arc_precision.report.results import Results, Run, Scored, find_results, read_table
from arc_precision.report.schema import (
    Arm,
    Difference,
    EvaluationRow,
    Interval,
    Note,
    Report,
    RunRow,
    Settings,
    Verdict,
)

_SCALARS = [name for name in SCORES.names if name not in ("outputs", "exception_type", "exception_line")]


def build_report(cfg: ReportSlice, root: Path, files: list[Path] | None = None) -> Report:
    """Read the results under `root` (only `files`, if given) and compute everything the page shows."""
    results = find_results(root, files, cfg.run_arms, cfg.seeds, cfg.evaluate_on, cfg.max_steps)
    steps = {run: _steps(results, run) for run in sorted(results.steps)}
    rows = [
        _run_row(cfg, results, Run(arm, seed), steps.get(Run(arm, seed))) for arm in cfg.run_arms for seed in cfg.seeds
    ]
    return Report(
        experiment=cfg.experiment,
        title=cfg.report.title,
        settings=_settings(cfg, results),
        verdict=Verdict(outcome="nothing", headline="No verdict yet.", sentences=[]),
        warnings=[],
        missing=[
            Note(level="serious", text=f"{r.arm}, seed {r.seed}: no steps.") for r in rows if r.status == "missing"
        ],
        arms=[
            Arm(
                name=arm,
                trainer_dtype=cfg.arms[arm]["trainer_dtype"],
                sampler_dtype=cfg.arms[arm]["sampler_dtype"],
                is_baseline=arm == cfg.report.baseline_arm,
            )
            for arm in cfg.run_arms
        ],
        runs=rows,
        differences=differences({arm: cfg.arms[arm] for arm in cfg.run_arms}),
        curves=curves(steps, list(cfg.run_arms), cfg.report.smoothing_steps),
        evaluation=[_evaluation_row(scored, path) for scored, path in results.scores.items()],
    )


def _settings(cfg: ReportSlice, results: Results) -> Settings:
    return Settings(
        baseline_arm=cfg.report.baseline_arm,
        primary_set=cfg.report.primary_set,
        primary_metric=cfg.report.primary_metric,
        confidence=cfg.report.confidence,
        bootstrap_samples=cfg.report.bootstrap_samples,
        smoothing_steps=cfg.report.smoothing_steps,
        max_steps=cfg.max_steps,
        arms=list(cfg.run_arms),
        seeds=list(cfg.seeds),
        sets=list(cfg.evaluate_on),
        common_dtype=None,
    )


def _steps(results: Results, run: Run) -> pd.DataFrame:
    steps = results.rows(results.steps[run])
    timing = results.rows(results.timing.get(run, []))
    return steps.merge(timing[["step", "step_s"]], on="step", how="left") if len(timing) else steps


def _run_row(cfg: ReportSlice, results: Results, run: Run, steps: pd.DataFrame | None) -> RunRow:
    facts = results.json(results.facts[run][-1]) if run in results.facts else None
    asked = {key: cfg.arms[run.arm][key] for key in ("trainer_dtype", "sampler_dtype")}
    if steps is None:
        return RunRow(
            arm=run.arm, seed=run.seed, status="missing", steps=0, applied_steps=None, asked=asked, observed={},
            reward_final=None, logp_diff_abs_mean=None, hours=None, gpu_hours=None,
        )  # fmt: skip
    observed = {key: str(value) for key, value in facts["observed"].items() if value is not None} if facts else {}
    hours = steps["step_s"].sum() / 3600 if "step_s" in steps else None
    return RunRow(
        arm=run.arm,
        seed=run.seed,
        status="finished" if steps["step"].iloc[-1] == cfg.max_steps else facts["status"] if facts else "running",
        steps=int(steps["step"].iloc[-1]),
        applied_steps=int(steps["applied_steps"].iloc[-1]),
        asked=asked,
        observed=observed,
        reward_final=steps["reward_mean"].astype(float).tail(cfg.report.smoothing_steps).mean(),
        logp_diff_abs_mean=steps["mismatch/logp_diff_abs_mean"].astype(float).mean(),
        hours=hours,
        gpu_hours=hours * cfg.arms[run.arm]["training"]["processes"]
        if hours is not None and observed.get("device", "cpu") != "cpu"
        else None,
    )


def differences(arms: dict[str, dict[str, Any]]) -> list[Difference]:
    """Keys whose values are not the same in every arm, dotted and sorted."""
    flat = {arm: _flatten(config) for arm, config in arms.items()}
    keys = sorted({key for config in flat.values() for key in config})
    found = []
    for key in keys:
        values = {arm: config.get(key) for arm, config in flat.items()}
        if len({json.dumps(value, sort_keys=True) for value in values.values()}) > 1:
            found.append(Difference(key=key, values=values, precision=key in ("trainer_dtype", "sampler_dtype")))
    return found


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _evaluation_row(scored: Scored, path: Path) -> EvaluationRow:
    tasks = per_task(read_table(path, SCORES, _SCALARS).to_pandas())
    shown = [name for name in tasks.columns if name in METRICS or name.startswith("pass@")]
    return EvaluationRow(
        set=scored.set,
        dtype=scored.dtype,
        arm=scored.checkpoint.arm,
        seed=scored.checkpoint.seed,
        step=scored.checkpoint.step,
        n_tasks=len(tasks),
        n_samples=int(tasks["n"].max()),
        metrics={name: Interval(value=tasks[name].mean()) for name in shown},
    )
