"""The report's numbers as CSV, one file per table, for spreadsheets."""

from pathlib import Path

import pandas as pd

from arc_precision.report.schema import Report

TABLES = ("runs", "curves", "evaluation")


def write_tables(report: Report, folder: Path) -> None:
    """Write `<table>.csv` for every name of TABLES; a table without rows has its header alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables(report).items():
        frame.to_csv(folder / f"{name}.csv", index=False)


def tables(report: Report) -> dict[str, pd.DataFrame]:
    """The tables, in long form where a row would otherwise have no fixed columns."""
    runs = [
        run.model_dump(exclude={"asked", "observed"})
        | {f"asked.{key}": value for key, value in run.asked.items()}
        | {f"observed.{key}": value for key, value in run.observed.items()}
        for run in report.runs
    ]
    points = [
        {"curve": curve.key, "arm": run.arm, "seed": run.seed, "step": step, "value": value}
        for curve in report.curves
        for run in curve.runs
        for step, value in zip(run.step, run.value, strict=True)
    ]
    evaluation = [
        row.model_dump(exclude={"metrics"}) | {"metric": name} | interval.model_dump()
        for row in report.evaluation
        for name, interval in row.metrics.items()
    ]
    return {
        "runs": pd.DataFrame(runs),
        "curves": pd.DataFrame(points, columns=["curve", "arm", "seed", "step", "value"]),
        "evaluation": pd.DataFrame(evaluation),
    }
