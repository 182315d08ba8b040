"""Evaluated checkpoints: tables with intervals, paired differences between arms, and the results of each task."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from arc_precision.config.report import ReportConfig
from arc_precision.contracts.costs import seconds_per_task
from arc_precision.contracts.layout import BASE, Checkpoint, Evaluated
from arc_precision.contracts.metric_names import METRICS
from arc_precision.contracts.parquet import read_rows, read_table
from arc_precision.contracts.scores import SCORES
from arc_precision.contracts.tasks import TASKS
from arc_precision.evaluation.task_metrics import grid_key, grid_keys, per_task, two_attempts, verdict_mix
from arc_precision.report import intervals
from arc_precision.report.intervals import DIFFERENCE_OF_SHARES, SHARE, UNBOUNDED, Bounds
from arc_precision.report.results import Results
from arc_precision.report.schema import Evaluation, EvaluationRow, EvaluationRun, HeatMap, Interval
from arc_precision.report.written_numbers import PLAIN_METRICS

_COLUMNS = [name for name in SCORES.names if name not in ("exception_type", "exception_line")]


@dataclass
class TaskScores:
    """One evaluated checkpoint."""

    tasks: pd.DataFrame  # metrics per task: `task_metrics.per_task` and `two_attempts`
    verdicts: pd.Series  # share of each verdict
    seconds_per_task: float | None  # of generation; None while the time is not known

    @property
    def metrics(self) -> list[str]:
        """Its metrics: columns of `tasks`."""
        return [name for name in self.tasks.columns if name in METRICS or name.startswith("pass@")]


def read_task_scores(results: Results) -> dict[Evaluated, TaskScores]:
    """Every evaluated checkpoint, reduced to metrics per task."""
    answers = {
        name: _answers(path) for name, path in results.tasks.items() if any(e.set == name for e in results.scores)
    }
    return {
        evaluated: _task_scores(path, results.costs.get(evaluated), answers[evaluated.set])
        for evaluated, path in results.scores.items()
    }


def _answers(path: Path) -> dict[str, list[bytes]]:
    rows = read_rows(path, TASKS, ["task_id", "test"])
    return {row["task_id"]: [grid_key(pair["output"]) for pair in row["test"]] for row in rows}


def _task_scores(path: Path, cost: Path | None, answers: dict[str, list[bytes]]) -> TaskScores:
    table = read_table(path, SCORES, _COLUMNS)
    scores = table.drop_columns(["outputs"]).to_pandas()
    tasks = per_task(scores)
    tasks["two_attempts"] = two_attempts(scores, grid_keys(table["outputs"].combine_chunks()), answers)
    return TaskScores(tasks, verdict_mix(scores), seconds_per_task(cost) if cost else None)


def common_dtype(scored: dict[Evaluated, TaskScores], arms: list[str]) -> str | None:
    """The sampler dtype in which all arms are evaluated; the most precise, if there are several."""
    by_arm = [{e.dtype for e in scored if e.checkpoint.arm == arm} for arm in arms]
    by_arm = [dtypes for dtypes in by_arm if dtypes]
    shared = set.intersection(*by_arm) if by_arm else set()
    return next((dtype for dtype in ("float32", "float16", "bfloat16") if dtype in shared), None)


def matrix(
    scored: dict[Evaluated, TaskScores],
    arm: str,
    seeds: list[int | None],
    step: int,
    name: str,
    dtype: str,
    metric: str,
) -> pd.DataFrame:
    """A metric as tasks x seeds, for the given seeds; all of them must be evaluated."""
    found = {seed: scored[Evaluated(Checkpoint(arm, seed, step), name, dtype)] for seed in seeds}
    return pd.DataFrame({seed: scores.tasks[metric] for seed, scores in found.items()})


def seeds_of(scored: dict[Evaluated, TaskScores], arm: str, step: int, name: str, dtype: str) -> list[int | None]:
    """Seeds of an arm that are evaluated there."""
    return [
        e.checkpoint.seed
        for e in scored
        if (e.checkpoint.arm, e.checkpoint.step, e.set, e.dtype) == (arm, step, name, dtype)
    ]


def compared_step(scored: dict[Evaluated, TaskScores], arms: list[str], name: str, dtype: str) -> int | None:
    """The last step at which all runs of these arms are evaluated, leaving out runs without any evaluation; else
    None."""
    steps: dict[tuple, set[int]] = {}
    for e in scored:
        if e.checkpoint.arm in arms and (e.set, e.dtype) == (name, dtype):
            steps.setdefault((e.checkpoint.arm, e.checkpoint.seed), set()).add(e.checkpoint.step)
    if {arm for arm, _ in steps} != set(arms):
        return None
    return max(set.intersection(*steps.values()), default=None)


def evaluation(
    scored: dict[Evaluated, TaskScores], report: ReportConfig, dtype: str | None, arms: list[str]
) -> Evaluation:
    """Tables of every evaluated step of every arm, the base model first."""
    order = {arm: place for place, arm in enumerate([BASE, *arms])}
    keys = sorted(
        {(e.set, e.dtype, e.checkpoint.arm, e.checkpoint.step) for e in scored},
        key=lambda key: (key[0] != report.primary_set, key[0], key[1] != dtype, key[1], key[3], order[key[2]]),
    )
    metrics = sorted({m for scores in scored.values() for m in scores.metrics}, key=_metric_order)
    return Evaluation(
        definitions={metric: METRICS.get(metric, METRICS["pass@k"]) for metric in metrics},
        rows=[_row(scored, report, *key) for key in keys],
        runs=[
            EvaluationRun(
                set=e.set,
                dtype=e.dtype,
                arm=e.checkpoint.arm,
                seed=e.checkpoint.seed,
                step=e.checkpoint.step,
                metrics={metric: scores.tasks[metric].mean() for metric in scores.metrics},
            )
            for e, scores in scored.items()
        ],
        heat_maps=[] if dtype is None else _heat_maps(scored, dtype, order),
    )


def _metric_order(metric: str) -> tuple:
    """pass@1, pass@2, ... first, then the order of the dictionary."""
    if metric.startswith("pass@"):
        return (0, int(metric.removeprefix("pass@")))
    return (1, list(METRICS).index(metric))


def interval(values: pd.DataFrame, report: ReportConfig, bounds: Bounds) -> Interval:
    """Mean of tasks x seeds: over seeds and tasks with two seeds or more, over tasks alone with one."""
    array = values.to_numpy(dtype=float).T
    if array.shape[0] > 1:
        return intervals.over_seeds(array, report.confidence, bounds)
    return intervals.over_tasks(array, report.confidence, report.bootstrap_samples, report.seed, bounds)


def score_interval(values: pd.DataFrame, report: ReportConfig, metric: str) -> Interval:
    """The same for values of a metric itself."""
    return interval(values, report, UNBOUNDED if metric in PLAIN_METRICS else SHARE)


def _row(scored, report: ReportConfig, name: str, dtype: str, arm: str, step: int) -> EvaluationRow:
    seeds = seeds_of(scored, arm, step, name, dtype)
    here = [scored[Evaluated(Checkpoint(arm, seed, step), name, dtype)] for seed in seeds]
    metrics = [m for m in here[0].metrics if all(m in scores.metrics for scores in here)]

    def values(arm: str, seeds: list[int | None], metric: str, step: int = step) -> pd.DataFrame:
        return matrix(scored, arm, seeds, step, name, dtype, metric)

    def change(frame: pd.DataFrame, metric: str) -> Interval:
        return interval(frame, report, UNBOUNDED if metric in PLAIN_METRICS else DIFFERENCE_OF_SHARES)

    seconds = [scores.seconds_per_task for scores in here if scores.seconds_per_task is not None]
    baseline_seeds = seeds_of(scored, report.baseline_arm, step, name, dtype)
    paired = [seed for seed in seeds if seed in baseline_seeds] if arm not in (report.baseline_arm, BASE) else []
    base = Evaluated(Checkpoint(BASE, None, 0), name, dtype)
    differences = {
        m: change(values(arm, paired, m) - values(report.baseline_arm, paired, m), m)
        for m in metrics
        if paired and m in scored[Evaluated(Checkpoint(report.baseline_arm, paired[0], step), name, dtype)].metrics
    }
    gains = {
        m: change(values(arm, seeds, m).sub(scored[base].tasks[m], axis=0), m)
        for m in metrics
        if arm != BASE and base in scored and m in scored[base].metrics
    }
    return EvaluationRow(
        set=name,
        dtype=dtype,
        arm=arm,
        step=step,
        n_seeds=len(seeds),
        n_tasks=len(here[0].tasks),
        n_samples=int(here[0].tasks["n"].max()),
        seen_share=here[0].tasks["seen_in_training"].astype(float).mean(),
        sandbox_errors=int(sum(scores.tasks["sandbox_errors"].sum() for scores in here)),
        seconds_per_task=sum(seconds) / len(seconds) if seconds else None,
        metrics={m: score_interval(values(arm, seeds, m), report, m) for m in metrics},
        differences=differences,
        gains=gains,
        verdicts=pd.DataFrame([scores.verdicts for scores in here]).fillna(0.0).mean().sort_index().to_dict(),
    )


def _heat_maps(scored: dict[Evaluated, TaskScores], dtype: str, order: dict[str, int]) -> list[HeatMap]:
    found = []
    for name in sorted({e.set for e in scored if e.dtype == dtype}):
        columns: dict[tuple[str, int], list[pd.Series]] = {}
        for e, scores in scored.items():
            if (e.set, e.dtype) == (name, dtype):
                columns.setdefault((e.checkpoint.arm, e.checkpoint.step), []).append(scores.tasks["pass@1"])
        keys = sorted(columns, key=lambda key: (order[key[0]], key[1]))
        rates = pd.DataFrame({key: pd.concat(columns[key], axis=1).mean(axis=1) for key in keys})
        rates = rates.loc[rates.mean(axis=1).sort_values(ascending=False, kind="stable").index]
        any_scores = next(scores for e, scores in scored.items() if (e.set, e.dtype) == (name, dtype))
        seen = any_scores.tasks["seen_in_training"].reindex(rates.index)
        found.append(
            HeatMap(
                set=name,
                tasks=list(rates.index),
                seen=[None if pd.isna(value) else bool(value) for value in seen],
                columns=[f"{arm}, step {step}" for arm, step in keys],
                column_arms=[arm for arm, _ in keys],
                rates=[list(rates[key]) for key in keys],
            )
        )
    return found
