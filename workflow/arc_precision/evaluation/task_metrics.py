"""Metrics of an evaluated checkpoint: metrics of scored completions, per task and over tasks.

The input is rows that follow `arc_precision.contracts.scores`. A program whose sandbox failed (`sandbox_error`) says
nothing about the model: such rows are counted and left out of every metric. Every other row counts, even one without a
program. Metrics are computed per task first and then averaged over tasks, so that each task weighs the same.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from arc_precision.contracts.metric_names import powers_of_two


def pass_at_k(n: np.ndarray, c: np.ndarray, k: int) -> np.ndarray:
    """Unbiased estimate of pass@k from c solved of n completions: 1 - C(n-c, k) / C(n, k).

    `n` and `c` are integer arrays of one shape; the result has that shape and is NaN where n < k. Chen et al.,
    "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374), equation 1, as a product, so that nothing
    overflows.
    """
    n, c = np.broadcast_arrays(np.asarray(n, dtype=float), np.asarray(c, dtype=float))
    miss = np.ones(n.shape)
    for i in range(k):
        # C(n-c, k) / C(n, k) is the product over i of (n-c-i) / (n-i); it is 0 once n-c < k.
        miss *= np.clip(n - c - i, 0, None) / np.where(n > i, n - i, 1)
    return np.where(n >= k, 1 - miss, np.nan)


def per_task(scores: pd.DataFrame) -> pd.DataFrame:
    """Metrics of one scored file, one row per task.

    `scores` has the scalar columns of the contract (outputs are not needed). Index: task_id, sorted. Columns: `n`
    completions that count, `solved` of them, `sandbox_errors` left out, `seen_in_training`, pass@k for the powers of
    two up to the most completions of a task, and the other keys of `METRICS` but `two_attempts`. A task whose
    completions all met a sandbox fault has n = 0 and NaN.
    """
    counted = scores["verdict"] != "sandbox_error"
    rows = pd.DataFrame(
        {
            "task_id": scores["task_id"],
            "solved": scores["solved"].astype(float),
            "train_pass": (scores["train_correct"] == scores["train_total"]).astype(float),
            "test_pass": (scores["test_correct"] == scores["test_total"]).astype(float),
            "train_pixels": scores["train_pixels"].fillna(0.0),
            "test_pixels": scores["test_pixels"].fillna(0.0),
            "valid_share": (scores["verdict"] == "ok").astype(float),
            "truncated_share": scores["truncated"].astype(float),
            "completion_tokens": scores["completion_tokens"].astype(float),
            "reward": scores["reward"],
        }
    )[counted]
    groups = rows.groupby("task_id")
    tasks = groups.mean().reindex(sorted(scores["task_id"].unique()))
    n = groups.size().reindex(tasks.index, fill_value=0)
    n_solved = groups["solved"].sum().reindex(tasks.index, fill_value=0).astype(int)
    passes = {f"pass@{k}": pass_at_k(n, n_solved, k) for k in powers_of_two(int(n.max()))}
    return tasks.assign(
        n=n,
        solved=n_solved,
        tokens_per_task=groups["completion_tokens"].sum().reindex(tasks.index),
        solved_any=(n_solved > 0).astype(float).where(n > 0),
        **passes,
        sandbox_errors=(~counted).groupby(scores["task_id"]).sum(),
        seen_in_training=scores.groupby("task_id")["seen_in_training"].first(),
    )


def grid_keys(outputs: pa.ListArray) -> list[list[bytes] | None]:
    """One hashable key per output grid: equal keys, equal grids.

    `outputs` is the column of the contract, rows x grids x height x width; null rows stay None. Reads the Arrow
    buffers, because turning millions of grids into Python lists takes minutes.
    """
    grid_at, row_at, cell_at, cells = _levels(outputs)
    null = np.asarray(outputs.is_null())
    keys: list[list[bytes] | None] = []
    for row, is_null in enumerate(null):
        if is_null:
            keys.append(None)
            continue
        grids = []
        for grid in range(grid_at[row], grid_at[row + 1]):
            first, last = row_at[grid], row_at[grid + 1]
            grids.append(f"{last - first}:".encode() + cells[cell_at[first] : cell_at[last]].tobytes())
        keys.append(grids)
    return keys


def _levels(outputs: pa.ListArray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    grids = outputs.values
    rows = grids.values
    return (
        outputs.offsets.to_numpy(),
        grids.offsets.to_numpy(),
        rows.offsets.to_numpy(),
        rows.values.to_numpy(zero_copy_only=False),
    )


def choose_attempts(
    keys: Sequence[bytes], train_correct: Sequence[float], program_length: Sequence[int], n_attempts: int = 2
) -> list[bytes]:
    """The distinct grids handed in for one test input, best first, chosen without knowing the answer.

    One entry per completion with valid grids: the key of its grid for this input, its share of train grids that are
    right, and the length of its program. Grids from programs that are right on more train pairs come first. Among those
    with the same share comes first the grid that more programs give, then the one with the shortest program, then the
    earlier one. A grid is handed in once, at its best place.
    """
    candidates: dict[bytes, tuple[float, int, int, int]] = {}
    for order, (key, share, length) in enumerate(zip(keys, train_correct, program_length, strict=True)):
        level, votes, shortest, first = candidates.get(key, (-1.0, 0, 0, 0))
        if share > level:
            candidates[key] = (share, 1, length, order)
        elif share == level:
            candidates[key] = (level, votes + 1, min(shortest, length), first)
    ranked = sorted(candidates.items(), key=lambda item: (-item[1][0], -item[1][1], item[1][2], item[1][3]))
    return [key for key, _ in ranked[:n_attempts]]


def two_attempts(scores: pd.DataFrame, keys: list[list[bytes] | None], answers: dict[str, list[bytes]]) -> pd.Series:
    """ARC Prize's score per task: the share of its test grids that one of two attempts gets right.

    `scores` as for `per_task`, `keys` its output grids in the same order (`grid_keys`), `answers` the keys of every
    task's test outputs. Index: task_id, sorted. A task without any valid grid scores 0.
    """
    chosen = attempts(scores, keys, {task_id: len(grids) for task_id, grids in answers.items()})
    result = {
        task_id: sum(answer in tried for answer, tried in zip(answers[task_id], grids, strict=True)) / len(grids)
        for task_id, grids in chosen.items()
    }
    return pd.Series(result, name="two_attempts")


def attempts(
    scores: pd.DataFrame, keys: list[list[bytes] | None], n_tests: dict[str, int]
) -> dict[str, list[list[bytes]]]:
    """Per task, sorted, and test input, keys of the grids that are handed in: two, or fewer where there are no more.

    `scores` and `keys` as for `two_attempts`, `n_tests` the number of test inputs of every task.
    """
    valid = [row for row, grids in enumerate(keys) if grids is not None]
    n_train = scores["train_total"].to_numpy()
    share = scores["train_correct"].to_numpy() / n_train
    length = scores["program"].fillna("").str.len().to_numpy()
    task_ids = scores["task_id"].to_numpy()
    by_task: dict[str, list[int]] = {task_id: [] for task_id in sorted(set(task_ids))}
    for row in valid:
        by_task[task_ids[row]].append(row)
    return {
        task_id: [
            choose_attempts([keys[row][n_train[row] + test] for row in rows], share[rows], length[rows])
            for test in range(n_tests[task_id])
        ]
        for task_id, rows in by_task.items()
    }


def grid_key(grid: Iterable[Iterable[int]]) -> bytes:
    """The key of `grid_keys` for one grid given as rows of colours."""
    array = np.asarray(grid, dtype=np.int8)
    return f"{array.shape[0]}:".encode() + array.tobytes()


def grid_of_key(key: bytes) -> list[list[int]]:
    """The grid, as rows of colours, of a key of `grid_keys`."""
    height, _, cells = key.partition(b":")
    return np.frombuffer(cells, dtype=np.int8).reshape(int(height), -1).tolist()


def verdict_mix(scores: pd.DataFrame) -> pd.Series:
    """Share of each verdict among all rows, sandbox faults included."""
    return scores["verdict"].value_counts(normalize=True).sort_index()
