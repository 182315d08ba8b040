"""A choice of tasks to look at, each with its grids and the arms' answers."""

import pandas as pd

from arc_precision.contracts.layout import BASE, Checkpoint, Evaluated
from arc_precision.contracts.parquet import read_rows, read_table
from arc_precision.contracts.scores import SCORES
from arc_precision.contracts.tasks import TASKS
from arc_precision.report.results import Results
from arc_precision.report.schema import TaskCard, TaskCompletion, TaskPair, TaskRate, Tasks
from arc_precision.report.task_scores import TaskScores

CHOICES = {
    "disagree": "The arms differ most in how often they solve it.",
    "gained": "Solved more often than by the base model.",
    "lost": "Solved less often than by the base model.",
    "best": "Solved most often.",
    "worst": "Never solved, and farthest from it.",
}
PER_CHOICE = 4


def tasks_section(
    results: Results, scored: dict[Evaluated, TaskScores], arms: list[str], step: int | None, dtype: str | None
) -> Tasks:
    """Tasks of every set at one step: the chosen ones, with the best and a middling completion of each arm."""
    cards = []
    if step is not None and dtype is not None:
        for name in sorted({e.set for e in scored}):
            cards += _cards_of_set(results, scored, arms, step, name, dtype)
    return Tasks(choices=CHOICES, step=step, dtype=dtype, cards=cards)


def choose(rates: pd.DataFrame, base: pd.Series | None, pixels: pd.Series) -> dict[str, list[str]]:
    """Task ids by choice.

    `rates` has a column per arm with the share of completions that solve a task, `base` that share for the base model,
    `pixels` the mean pixel score over arms; all are indexed by task id.
    """

    def first(values: pd.Series, keep: pd.Series, ascending: bool = False) -> list[str]:
        return list(values[keep].sort_values(ascending=ascending, kind="stable").index[:PER_CHOICE])

    mean = rates.mean(axis=1)
    spread = rates.max(axis=1) - rates.min(axis=1)
    chosen = {"disagree": first(spread, spread > 0)}
    if base is not None:
        gain = mean - base
        chosen |= {"gained": first(gain, gain > 0), "lost": first(gain, gain < 0, ascending=True)}
    return chosen | {"best": first(mean, mean > 0), "worst": first(pixels, mean == 0, ascending=True)}


def _cards_of_set(results, scored, arms: list[str], step: int, name: str, dtype: str) -> list[TaskCard]:
    here = {
        e.checkpoint: scores
        for e, scores in scored.items()
        if (e.set, e.dtype) == (name, dtype) and e.checkpoint.step == step and e.checkpoint.arm != BASE
    }
    found = [arm for arm in arms if any(checkpoint.arm == arm for checkpoint in here)]
    if not found:
        return []

    def mean_over_seeds(metric: str) -> pd.DataFrame:
        return pd.DataFrame(
            {
                arm: pd.concat([o.tasks[metric] for c, o in here.items() if c.arm == arm], axis=1).mean(axis=1)
                for arm in found
            }
        )

    base = scored.get(Evaluated(Checkpoint(BASE, None, 0), name, dtype))
    rates = mean_over_seeds("pass@1")
    base_rates = base.tasks["pass@1"] if base else None
    chosen = choose(rates, base_rates, mean_over_seeds("test_pixels").mean(axis=1))
    ids = list(dict.fromkeys(task_id for choice in CHOICES for task_id in chosen.get(choice, [])))
    scores = {
        checkpoint: _scores(results, Evaluated(checkpoint, name, dtype), ids)
        for checkpoint in [*([Checkpoint(BASE, None, 0)] if base else []), *here]
    }
    tasks = {
        row["task_id"]: row
        for row in read_rows(results.tasks[name], TASKS, ["task_id", "train", "test", "seen_in_training"])
    }
    return [
        TaskCard(
            set=name,
            task_id=task_id,
            seen=tasks[task_id]["seen_in_training"],
            chosen_as=[choice for choice in CHOICES if task_id in chosen.get(choice, [])],
            rates=[
                *([TaskRate(arm=BASE, solved=base_rates[task_id])] if base else []),
                *(TaskRate(arm=arm, solved=rates.at[task_id, arm]) for arm in found),
            ],
            pairs=[
                TaskPair(kind=kind, input=_grid(pair["input"]), output=_grid(pair["output"]))
                for kind in ("train", "test")
                for pair in tasks[task_id][kind]
            ],
            completions=[each for arm in [BASE, *found] for each in _completions(scores, arm, task_id)],
        )
        for task_id in ids
    ]


def _scores(results: Results, evaluated: Evaluated, task_ids: list[str]) -> list[dict]:
    table = read_table(results.scores[evaluated], SCORES, SCORES.names)
    wanted = set(task_ids)
    at = [place for place, task_id in enumerate(table["task_id"].to_pylist()) if task_id in wanted]
    return table.take(at).to_pylist()


def _completions(scores: dict[Checkpoint, list[dict]], arm: str, task_id: str) -> list[TaskCompletion]:
    """The best completion of an arm for a task, and the one with the median reward if its program differs."""
    rows = [
        (checkpoint, row)
        for checkpoint, table in scores.items()
        if checkpoint.arm == arm
        for row in table
        if row["task_id"] == task_id and row["reward"] is not None
    ]
    rows.sort(key=lambda item: -item[1]["reward"])
    if not rows:
        return []
    shown = [rows[0]]
    middle = rows[len(rows) // 2]
    if middle[1]["program"] != rows[0][1]["program"]:
        shown.append(middle)
    return [_completion(checkpoint, row) for checkpoint, row in shown]


def _completion(checkpoint: Checkpoint, row: dict) -> TaskCompletion:
    exception = row["exception_type"]
    if exception is not None and row["exception_line"] is not None:
        exception += f" in line {row['exception_line']}"
    return TaskCompletion(
        arm=checkpoint.arm,
        seed=checkpoint.seed,
        step=checkpoint.step,
        sample=row["sample"],
        verdict=row["verdict"],
        exception=exception,
        reward=row["reward"],
        train_correct=row["train_correct"],
        train_total=row["train_total"],
        test_correct=row["test_correct"],
        test_total=row["test_total"],
        program=row["program"],
        outputs=None if row["outputs"] is None else [_grid(grid) for grid in row["outputs"]],
    )


def _grid(rows: list[list[int]]) -> str:
    return "/".join("".join(str(cell) for cell in row) for row in rows)
