"""Verdicts and scores of completions: runs their programs and holds the outputs against the answers."""

from collections.abc import Iterator
from functools import partial

from tqdm import tqdm

from arc_precision.config.sandbox import SandboxConfig
from arc_precision.contracts.tasks import task_of_row
from arc_precision.sandbox import Limits, extract_program, run_each_once, run_programs
from arc_precision.scoring.rewards import grid_scores, reward, solved


def score_rows(
    rows: dict[str, dict], samples: list[dict], reward_name: str, sandbox: SandboxConfig, workers: int
) -> Iterator[dict]:
    """A score row per sample row, in order (`contracts.scores`).

    Args:
        rows: task rows by row id.
        workers: programs that run at once.

    Raises:
        SandboxFault: the sandbox itself failed.
    """
    tasks = {row_id: task_of_row(row) for row_id, row in rows.items()}
    programs = [extract_program(sample["completion"]) for sample in samples]
    grids = [[pair.input for pair in tasks[sample["row_id"]].pairs] for sample in samples]
    limits = Limits(sandbox.cpu_s, sandbox.wall_s, sandbox.memory_mb, sandbox.max_side)
    run = partial(run_programs, limits=limits, workers=workers, min_level=sandbox.min_level)
    verdicts = run_each_once(run, programs, grids)
    for sample, program, (verdict, _) in zip(
        samples, programs, tqdm(verdicts, total=len(samples), desc="score", unit="program"), strict=True
    ):
        row, task = rows[sample["row_id"]], tasks[sample["row_id"]]
        n_train, n_test = len(task.train), len(task.test)
        correct, pixels = [False] * (n_train + n_test), [0.0] * (n_train + n_test)
        if verdict.status == "ok":
            correct, pixels = grid_scores(verdict.outputs, [pair.output for pair in task.pairs])
        yield {
            "row_id": sample["row_id"],
            "task_id": row["task_id"],
            "sample": sample["sample"],
            "verdict": verdict.status,
            "exception_type": verdict.exception_type,
            "exception_line": verdict.exception_line,
            "program": program,
            "outputs": [output.tolist() for output in verdict.outputs] if verdict.outputs is not None else None,
            "train_correct": int(sum(correct[:n_train])),
            "train_total": n_train,
            "test_correct": int(sum(correct[n_train:])),
            "test_total": n_test,
            "train_pixels": float(sum(pixels[:n_train]) / n_train),
            "test_pixels": float(sum(pixels[n_train:]) / n_test),
            "solved": solved(verdict, task),
            "reward": reward(reward_name, verdict, task),
            "completion_tokens": len(sample["token_ids"]),
            "truncated": sample["truncated"],
            "seen_in_training": row["seen_in_training"],
        }
