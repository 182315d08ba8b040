"""The report's numbers as CSV, one file per table, for spreadsheets."""

from pathlib import Path

import pandas as pd

from arc_precision.config.base import flat
from arc_precision.report.schema import LevelChange, Report

TABLES = ("runs", "comparisons", "ladder", "factors", "curves", "mismatch", "evaluation", "tasks", "collapse")


def write_tables(report: Report, folder: Path) -> None:
    """Write `<table>.csv` for every name of TABLES; a table without rows is an empty file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables(report).items():
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)


def tables(report: Report) -> dict[str, list[dict]]:
    """Rows of every table, in long form if rows would otherwise have no fixed columns."""
    return {
        "runs": [flat(run.model_dump()) for run in report.runs],
        "comparisons": [flat(comparison.model_dump(exclude={"by_seed"})) for comparison in report.comparisons],
        "ladder": [flat(arm.model_dump()) for arm in report.ladder.arms] if report.ladder else [],
        "factors": _factors(report),
        "curves": _curves(report),
        "mismatch": _mismatch(report),
        "evaluation": _evaluation(report),
        "tasks": _tasks(report),
        "collapse": [run.model_dump(exclude={"warnings", "alarms"}) for run in report.collapse.runs],
    }


def _factors(report: Report) -> list[dict]:
    def words(changes: list[LevelChange]) -> str:
        return " with ".join(f"{change.factor}: {change.level} for {change.reference}" for change in changes)

    return [
        {"grid": grid.grid, "change": words(effect.changes), "outcome": report.settings.primary_metric}
        | effect.difference.model_dump()
        for grid in report.factors
        for effect in grid.effects
    ] + [
        {"grid": grid.grid, "change": words([test.change]), "outcome": test.endpoint}
        | test.model_dump(exclude={"change", "endpoint"})
        for grid in report.factors
        for test in grid.survival
    ]


def _curves(report: Report) -> list[dict]:
    steps = {(axis.arm, axis.seed): axis.step for axis in report.curves.axes}
    return [
        {"curve": panel.key, "arm": run.arm, "seed": run.seed, "step": step, "value": value}
        for panel in report.curves.panels
        for run in panel.runs
        for step, value in zip(steps[run.arm, run.seed], run.value, strict=True)
    ]


def _mismatch(report: Report) -> list[dict]:
    return [
        {"arm": audited.arm, "n_seeds": audited.n_seeds, "step": audited.step, "table": table, **row.model_dump()}
        for audited in report.mismatch
        for table, rows in (
            ("causes", audited.causes),
            ("counterfactuals", audited.counterfactuals),
            ("by_position", audited.by_position),
            ("by_probability", audited.by_probability),
        )
        for row in rows
    ]


def _evaluation(report: Report) -> list[dict]:
    kinds = ("metrics", "differences", "gains")
    return [
        {
            **row.model_dump(exclude={*kinds, "verdicts"}),
            "metric": metric,
            "kind": kind,
            **interval.model_dump(),
        }
        for row in report.evaluation.rows
        for kind in kinds
        for metric, interval in getattr(row, kind).items()
    ] + [
        {
            **run.model_dump(exclude={"metrics"}),
            "n_seeds": 1,
            "metric": metric,
            "kind": "run",
            "value": value,
        }
        for run in report.evaluation.runs
        for metric, value in run.metrics.items()
    ]


def _tasks(report: Report) -> list[dict]:
    return [
        {"set": heat.set, "task_id": task, "seen_in_training": seen, "column": column, "solved": rate}
        for heat in report.evaluation.heat_maps
        for column, rates in zip(heat.columns, heat.rates, strict=True)
        for task, seen, rate in zip(heat.tasks, heat.seen, rates, strict=True)
    ]
