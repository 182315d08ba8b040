"""Equal programs for equal inputs run once, and each of them counts."""

import numpy as np
import pytest

from arc_precision.config.sandbox import SandboxConfig
from arc_precision.evaluation import scoring
from arc_precision.sandbox import Verdict, run_each_once
from arc_precision.tasks.grids import Pair, Task
from arc_precision.training.scoring import Scorer

A, B = np.zeros((2, 3), np.int8), np.zeros((3, 2), np.int8)
COPY, ZERO = "def transform(grid):\n    return grid", "def transform(grid):\n    return grid * 0"


def recorded(programs, grids):
    """Verdicts of a run, and the programs that it got."""
    given = []

    def run(programs, grids):
        for program, inputs in zip(programs, grids, strict=True):
            given.append((program, inputs))
            yield Verdict("ok", message=f"{program} {[grid.shape for grid in inputs]}")

    return list(run_each_once(run, programs, grids)), given


def test_every_pair_of_program_and_inputs_runs_once_in_the_order_of_the_first():
    programs, grids = ["p", "q", "p", "p", "q", "p"], [[A], [A], [A], [B], [A.copy()], [A, A]]
    results, given = recorded(programs, grids)
    assert [(program, [x.shape for x in inputs]) for program, inputs in given] == [
        ("p", [(2, 3)]), ("q", [(2, 3)]), ("p", [(3, 2)]), ("p", [(2, 3), (2, 3)]),
    ]  # fmt: skip
    assert [reused for _, reused in results] == [False, False, True, False, True, False]
    for (verdict, _), program, inputs in zip(results, programs, grids, strict=True):
        assert verdict.message == f"{program} {[grid.shape for grid in inputs]}"


def test_cells_make_inputs_different_and_missing_programs_repeat_nothing():
    results, given = recorded(["p", "p", None, None], [[A], [A + 1], [A], [A]])
    assert len(given) == 4 and not any(reused for _, reused in results)


TASK = Task("t", (Pair(A + 1, A + 1),), (Pair(A, A),))


def test_a_batch_counts_repeated_programs_as_if_each_had_run():
    fenced = [f"```python\n{program}\n```" for program in (COPY, COPY, ZERO, COPY)] + ["no program"] * 2
    scorer = Scorer({"r": TASK, "s": TASK}, "arc-v2-no-pixel-score", SandboxConfig(), workers=1)
    runs = []
    run = scorer._sandbox.run
    scorer._sandbox.run = lambda programs, grids: run(runs.extend(programs) or programs, grids)
    try:
        scored = scorer.start(["r", "r", "r", "s", "r", "r"], fenced)()
        verdicts, n_solved, n_reused, kept = scorer.take()
        assert scorer.take() == ({}, 0, 0, [])
    finally:
        scorer.close()
    rewards = list(map(float, scored))
    assert [each.verdict for each in scored] == ["ok"] * 4 + ["no_program"] * 2
    assert rewards == kept and rewards[0] == rewards[1] == rewards[3] == 10 > rewards[2] > rewards[4] == rewards[5] == 0
    assert (dict(verdicts), n_solved, n_reused) == ({"ok": 4, "no_program": 2}, 3, 2)
    assert runs == [COPY, ZERO, None, None]


def test_scorers_of_two_runs_share_processes_and_nothing_else():
    first = Scorer({"r": TASK}, "arc-v2-no-pixel-score", SandboxConfig(), workers=1)
    second = first.beside({"s": TASK}, {})
    try:
        waits = first.start(["r"], [f"```python\n{ZERO}\n```"]), second.start(["s"], [f"```python\n{COPY}\n```"])
        rewards = [wait() for wait in waits]
        assert first._sandbox is second._sandbox
        with pytest.raises(KeyError):
            second.start(["r"], ["a task of the first"])()
        counted = first.take(), second.take()
    finally:
        first.close()
    assert [(dict(verdicts), n_solved, kept) for verdicts, n_solved, _, kept in counted] == [
        ({"ok": 1}, 0, rewards[0]),
        ({"ok": 1}, 1, rewards[1]),
    ]


def test_a_scoring_job_runs_each_program_of_a_task_once(monkeypatch):
    runs = []

    def run_programs(programs, grids, **_):
        runs.extend(programs)
        return (Verdict("ok", outputs=tuple(inputs)) for inputs in grids)

    monkeypatch.setattr(scoring, "run_programs", run_programs)
    monkeypatch.setattr(scoring, "task_of_row", lambda row: TASK)
    row = {"task_id": "t", "seen_in_training": False}
    samples = [
        {"row_id": "r", "sample": i, "completion": completion, "token_ids": [1], "truncated": False}
        for i, completion in enumerate([COPY, ZERO, COPY, COPY])
    ]
    scored = list(scoring.score_rows({"r": row}, samples, "arc-v2-no-pixel-score", SandboxConfig(), 1))
    assert runs == [COPY, ZERO]
    assert [score["sample"] for score in scored] == [0, 1, 2, 3] and all(score["solved"] for score in scored)
