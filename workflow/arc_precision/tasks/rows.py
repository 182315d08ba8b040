"""Rows of data/*.parquet: the candidates for training, and one evaluation set."""

import hashlib
import heapq
import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from arc_precision.config.data import CandidatesSlice, DataConfig, EvaluationSetSlice
from arc_precision.tasks.augment import Augmentation, draw_augmentation, row_rng
from arc_precision.tasks.canonical import canonical_key
from arc_precision.tasks.grids import Pair, Task
from arc_precision.tasks.sources import load_source

SCHEMA_VERSION = 1
"""Of the manifests beside the Parquet files."""

WritePrompt = Callable[[Task, int], tuple[str, int]]
"""Task and index of the test pair to the prompt's text and its length in tokens."""


@dataclass
class Counts:
    """What became of a source's tasks."""

    tasks_read: int = 0
    too_long: int = 0
    """Rows dropped because their prompt has more than max_prompt_tokens."""
    in_training: int = 0
    """Tasks dropped from a held-out set because they are in the training data."""
    not_drawn: int = 0
    """Tasks left out by n_tasks."""
    rows: int = 0
    shortest: int | None = None
    """Tokens of the shortest prompt seen, dropped or not."""
    prompt_tokens: list[int] = field(default_factory=list)

    def keep(self, n_tokens: int, max_prompt_tokens: int) -> bool:
        """Whether a prompt is short enough; counts it if not."""
        self.shortest = min(n_tokens, self.shortest or n_tokens)
        self.too_long += n_tokens > max_prompt_tokens
        return n_tokens <= max_prompt_tokens

    def summary(self) -> dict:
        """For the manifest."""
        return {
            "tasks_read": self.tasks_read,
            "rows_dropped_too_long": self.too_long,
            "tasks_dropped_in_training": self.in_training,
            "tasks_not_drawn": self.not_drawn,
            "rows": self.rows,
            "prompt_tokens": token_summary(self.prompt_tokens),
        }


def token_summary(n_tokens: list[int]) -> dict | None:
    """Least, median and greatest number of tokens; None of nothing."""
    if not n_tokens:
        return None
    return {"min": min(n_tokens), "median": statistics.median(n_tokens), "max": max(n_tokens)}


def candidate_rows(
    settings: CandidatesSlice, write_prompt: WritePrompt, counts: dict[str, Counts]
) -> Iterator[list[dict]]:
    """Batches of training rows, one batch per task that has any; `counts` is filled by source.

    Raises:
        ValueError: a source is not what it should be, or no prompt is short enough.
    """
    data = settings.data
    for name in data.train_on:
        count = counts[name] = Counts()
        rows_of_tasks = _rows_of_tasks(name, settings, write_prompt, count)
        for rows in _draw(rows_of_tasks, data.n_tasks, data.seed, count):
            count.rows += len(rows)
            count.prompt_tokens += [row["prompt_tokens"] for row in rows]
            yield rows
    _refuse_empty(counts.values(), data.max_prompt_tokens, "data.max_prompt_tokens")


def _rows_of_tasks(
    name: str, settings: CandidatesSlice, write_prompt: WritePrompt, count: Counts
) -> Iterator[list[dict]]:
    data = settings.data
    for index, task in enumerate(tqdm(load_source(settings.sources[name]), desc=name, unit=" tasks", mininterval=1)):
        count.tasks_read += 1
        canonical = canonical_key(task)
        rows = []
        for k in range(data.augmentations):
            augmented, augmentation, test_index = _augment(task, name, index, k, data)
            prompt, n_tokens = write_prompt(augmented, test_index)
            if count.keep(n_tokens, data.max_prompt_tokens):
                row = {"row_id": f"{name}/{task.task_id}/{k}", "task_id": task.task_id, "source": name}
                row |= _columns(augmented, test_index, augmentation, prompt, n_tokens)
                rows.append({**row, "canonical": canonical, "seen_in_training": None})
        if rows:
            yield rows


def _augment(task: Task, source: str, index: int, k: int, data: DataConfig) -> tuple[Task, Augmentation | None, int]:
    """The task of a row, what was done to it, and the test pair its prompt asks for."""
    if not data.augment:
        return task, None, 0
    rng = row_rng(data.seed, source, index, k)
    augmentation = draw_augmentation(rng, len(task.train))
    return augmentation.apply_to_task(task), augmentation, int(rng.integers(len(task.test)))


def evaluation_rows(
    name: str,
    settings: EvaluationSetSlice,
    write_prompt: WritePrompt,
    training_keys: frozenset[str],
    count: Counts,
) -> Iterator[list[dict]]:
    """Batches of one row each of an evaluation set; no augmentation, and the prompt asks for the first test pair.

    Args:
        name: The set's name in the config.
        settings: What decides the rows.
        write_prompt: Makes the prompts.
        training_keys: Canonical keys of the training candidates.
        count: Filled.

    Raises:
        ValueError: the source is not what it should be, or no task is left.
    """
    eligible = _eligible(settings, write_prompt, training_keys, count)
    for rows in _draw(eligible, settings.set.n_tasks, settings.set.seed, count):
        count.rows += len(rows)
        count.prompt_tokens += [row["prompt_tokens"] for row in rows]
        yield rows
    if count.in_training and not count.rows:
        raise ValueError(
            f"evaluation_sets.{name}: all {count.in_training} tasks that fit are in the training data; "
            "choose another source, or write held_out: false"
        )
    _refuse_empty([count], settings.set.max_prompt_tokens, f"evaluation_sets.{name}.max_prompt_tokens")


def _eligible(
    settings: EvaluationSetSlice, write_prompt: WritePrompt, training_keys: frozenset[str], count: Counts
) -> Iterator[list[dict]]:
    chosen = settings.set
    for task in tqdm(load_source(settings.source), desc=chosen.source, unit=" tasks", mininterval=1):
        count.tasks_read += 1
        prompt, n_tokens = write_prompt(task, 0)
        if not count.keep(n_tokens, chosen.max_prompt_tokens):
            continue
        canonical = canonical_key(task)
        seen = canonical in training_keys
        if seen and chosen.held_out:
            count.in_training += 1
        else:
            row = {"row_id": task.task_id, "task_id": task.task_id, "source": chosen.source}
            row |= _columns(task, 0, None, prompt, n_tokens)
            yield [{**row, "canonical": canonical, "seen_in_training": seen}]


def _draw(rows_of_tasks: Iterator[list[dict]], n_tasks: int | None, seed: int, count: Counts) -> Iterator[list[dict]]:
    """The rows of at most `n_tasks` tasks, in their order. Which ones: those least in a hash of seed and task name,
    so that a task's luck does not hang on what else there is."""
    if n_tasks is None:
        yield from rows_of_tasks
        return

    def luck(numbered: tuple[int, list[dict]]) -> bytes:
        return hashlib.sha256(f"{seed}/{numbered[1][0]['task_id']}".encode()).digest()

    numbers = itertools.count()
    drawn = heapq.nsmallest(n_tasks, zip(numbers, rows_of_tasks, strict=False), key=luck)
    count.not_drawn = next(numbers) - 1 - len(drawn)
    for _, rows in sorted(drawn, key=lambda numbered: numbered[0]):
        yield rows


def _refuse_empty(counts: Iterable[Counts], max_prompt_tokens: int, key: str) -> None:
    if any(count.rows for count in counts):
        return
    shortest = min((count.shortest for count in counts if count.shortest is not None), default=None)
    if shortest is None:
        raise ValueError(f"{key}: {max_prompt_tokens}, but the sources hold no task at all")
    raise ValueError(
        f"{key}: {max_prompt_tokens} leaves no task, because the shortest prompt has {shortest} tokens; "
        f"write {shortest} or more"
    )


def _columns(task: Task, test_index: int, augmentation: Augmentation | None, prompt: str, n_tokens: int) -> dict:
    return {
        "train": _pairs(task.train),
        "test": _pairs(task.test),
        "test_index": test_index,
        "augmentation": augmentation and augmentation.to_json(),
        "prompt": prompt,
        "prompt_tokens": n_tokens,
    }


def _pairs(pairs: tuple[Pair, ...]) -> list[dict]:
    return [{"input": pair.input.tolist(), "output": pair.output.tolist()} for pair in pairs]


def batched(batches: Iterator[list[dict]], size: int) -> Iterator[list[dict]]:
    """The same rows in batches of at least `size`, but for the last."""
    held: list[dict] = []
    for batch in batches:
        held += batch
        if len(held) >= size:
            yield held
            held = []
    if held:
        yield held


def manifest(n_rows: int, sha256: str, counts: dict[str, Counts]) -> dict:
    """What the JSON beside a Parquet file says."""
    return {
        "schema_version": SCHEMA_VERSION,
        "rows": n_rows,
        "sha256": sha256,
        "sources": {name: count.summary() for name, count in counts.items()},
    }


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
