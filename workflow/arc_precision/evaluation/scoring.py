"""Verdicts and scores of completions: runs their programs and compares the outputs with the answers."""

from collections.abc import Iterator
from functools import partial

from tqdm import tqdm

from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.thinking import Thinking
from arc_precision.contracts.tasks import task_of_row
from arc_precision.sandbox import run_programs
from arc_precision.scoring.completions import judged, limits_of
from arc_precision.scoring.rewards import grid_scores, reward, solved


def score_rows(
    rows: dict[str, dict],
    samples: list[dict],
    reward_name: str,
    sandbox: SandboxConfig,
    workers: int,
    thinking: Thinking | None = None,
) -> Iterator[dict]:
    """A score row per sample row, in order (`contracts.scores`). Test pairs without answers are run, but not counted.

    Args:
        rows: task rows by row id.
        workers: programs that run at once.
        thinking: no program is taken from inside the thinking part.

    Raises:
        SandboxFault: the sandbox itself failed.
    """
    by_id = {row_id: task_of_row(row) for row_id, row in rows.items()}
    tasks = [by_id[sample["row_id"]] for sample in samples]
    prompts = [rows[sample["row_id"]]["prompt"] for sample in samples] if thinking else None
    run = partial(run_programs, limits=limits_of(sandbox), workers=workers, min_level=sandbox.min_level)
    found = judged(run, [sample["completion"] for sample in samples], tasks, thinking, prompts)
    for sample, task, (program, verdict, _) in zip(
        samples, tasks, tqdm(found, total=len(samples), desc="score", unit="program"), strict=True
    ):
        row = rows[sample["row_id"]]
        answers = [pair.output for pair in (task.pairs if task.answered else task.train)]
        n_train, n_test = len(task.train), len(answers) - len(task.train)
        correct, pixels = [False] * len(answers), [0.0] * len(answers)
        if verdict.status == "ok":
            correct, pixels = grid_scores(verdict.outputs[: len(answers)], answers)
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
            "test_pixels": float(sum(pixels[n_train:]) / n_test) if task.answered else None,
            "solved": solved(verdict, task) if task.answered else None,
            "reward": reward(reward_name, verdict, task) if task.answered else None,
            "completion_tokens": len(sample["token_ids"]),
            "truncated": sample["truncated"],
            "seen_in_training": row["seen_in_training"],
        }
