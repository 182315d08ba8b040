"""Rows of data/*.parquet: the candidates for training, and an evaluation set.

A source is worked on chunk by chunk, in as many processes as are allowed. Each chunk becomes a part: a table of its
rows in a file of its own, in a scratch folder beside the output. A part depends on the slice and the chunk alone, so
a run that was killed goes on with the parts that it left, and the result is the same for any number of processes. The
parts, in order, then become the rows.
"""

import hashlib
import heapq
import json
import os
import pickle
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from arc_precision.config.data import CandidatesSlice, EvaluationSetSlice, Source
from arc_precision.contracts.parquet import read_table
from arc_precision.contracts.tasks import PAIRS, TASKS
from arc_precision.tasks.augment import Augmentation, draw_augmentation, row_rng
from arc_precision.tasks.canonical import canonical_keys
from arc_precision.tasks.grids import Grid, Pair, Task
from arc_precision.tasks.source_files import source_files
from arc_precision.tasks.sources import Chunk, add_names, source_chunks

SCHEMA_VERSION = 1
"""Version of the manifests beside the Parquet files."""

ROW_GROUP_ROWS = 500
CHUNKS_AHEAD = 8
"""Chunks per process that may be read before their rows are written; each is about one MB."""

PROMPT_MODULES = ("chat", "prompts", "templates")

WritePrompt = Callable[[Task, int], tuple[str, int]]
"""A function from a task and the index of a test pair to the prompt's text and its length in tokens."""


@dataclass(frozen=True)
class Recipe:
    """The settings by which tasks become rows."""

    write_prompt: WritePrompt
    max_prompt_tokens: int
    augment: bool = False
    augmentations: int = 1
    seed: int = 0


@dataclass
class Counts:
    """Counts of a source's tasks by their fate."""

    tasks_read: int = 0
    rows_too_long: int = 0
    """Rows dropped because their prompt has more than max_prompt_tokens."""
    tasks_in_training: int = 0
    """Tasks dropped from a held-out set because they are in the training data."""
    tasks_not_drawn: int = 0
    """Tasks left out by n_tasks."""
    shortest_prompt_tokens: int | None = None
    """Shortest prompt before any were dropped, in tokens."""

    def add(self, other: "Counts") -> None:
        """Count another chunk's tasks too."""
        self.tasks_read += other.tasks_read
        self.rows_too_long += other.rows_too_long
        lengths = [self.shortest_prompt_tokens, other.shortest_prompt_tokens]
        self.shortest_prompt_tokens = min((length for length in lengths if length is not None), default=None)


# ------------------------------------------------------------------------------------------------ the two kinds of file


def write_candidates(
    slice: CandidatesSlice, write_prompt: WritePrompt, output: Path, scratch: Path, workers: int = 1
) -> dict:
    """Write the candidate training rows, and return the manifest.

    Args:
        slice: What decides the rows.
        write_prompt: Makes the prompts; it goes to other processes by pickle.
        output: The Parquet file.
        scratch: As `scratch_folder` gives it; removed at the end.
        workers: Processes that make parts.

    Raises:
        ValueError: a source is not valid, or no prompt is short enough.
    """
    data = slice.data
    recipe = Recipe(write_prompt, data.max_prompt_tokens, data.augment, data.augmentations, data.seed)
    with _pool(recipe, workers) as pool, _Writer(output) as writer:
        for name in data.train_on:
            parts = _make_parts(name, slice.sources[name], recipe, scratch / name, pool, workers)
            writer.write_source(name, parts, data.n_tasks, data.seed)
        writer.refuse_empty("data.max_prompt_tokens", data.max_prompt_tokens)
    shutil.rmtree(scratch.parent)
    return writer.manifest()


def write_evaluation_set(
    name: str,
    slice: EvaluationSetSlice,
    write_prompt: WritePrompt,
    training_keys: pa.Array,
    output: Path,
    scratch: Path,
    workers: int = 1,
) -> dict:
    """Write an evaluation set, one row per task, and return the manifest.

    Nothing is augmented, and the prompt asks for the first test pair.

    Args:
        name: The set's name in the config.
        slice: What decides the rows.
        write_prompt: Makes the prompts.
        training_keys: Canonical keys of the training candidates.
        output: The Parquet file.
        scratch: As in `write_candidates`.
        workers: As in `write_candidates`.

    Raises:
        ValueError: the source is not valid, or no task is left.
    """
    chosen = slice.set
    recipe = Recipe(write_prompt, chosen.max_prompt_tokens)

    def label(table: pa.Table) -> pa.Table:
        known = pc.is_valid(table["canonical"])
        seen = pc.if_else(known, pc.is_in(table["canonical"], value_set=training_keys), pa.scalar(None, pa.bool_()))
        labelled = table.set_column(table.schema.get_field_index("seen_in_training"), "seen_in_training", seen)
        return labelled.filter(pc.invert(pc.fill_null(seen, False))) if chosen.held_out else labelled

    with _pool(recipe, workers) as pool, _Writer(output) as writer:
        parts = _make_parts(chosen.source, slice.source, recipe, scratch, pool, workers)
        writer.write_source(chosen.source, parts, chosen.n_tasks, chosen.seed, label)
        counts = writer.counts[chosen.source]
        if counts.tasks_in_training and not writer.n_rows:
            raise ValueError(
                f"evaluation_sets.{name}: all {counts.tasks_in_training} tasks that fit are in the training data; "
                "choose another source, or write held_out: false"
            )
        writer.refuse_empty(f"evaluation_sets.{name}.max_prompt_tokens", chosen.max_prompt_tokens)
    shutil.rmtree(scratch.parent)
    return writer.manifest()


def scratch_folder(output: Path, slice: Sequence[str], sources: Iterable[Source], write_prompt: WritePrompt) -> Path:
    """The folder beside `output` for parts that depend on all this; those left over from anything else are removed."""
    hashed = hashlib.sha256(pickle.dumps((list(slice), write_prompt)))
    library = Path(__file__).parents[1]
    for file in [*sorted(library.glob("tasks/*.py")), *(library / f"{name}.py" for name in PROMPT_MODULES)]:
        hashed.update(file.read_bytes())
    for file in [file for source in sources for file in source_files(source)]:
        hashed.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    folder = output.with_name(f"{output.name}.parts") / hashed.hexdigest()[:16]
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    return folder


def read_canonical_keys(candidates: Path) -> pa.Array:
    """Distinct canonical keys of a file of rows."""
    return pc.unique(read_table(candidates, TASKS, ["canonical"])["canonical"])


# ------------------------------------------------------------------------------------------------ parts


def _pool(recipe: Recipe, workers: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    """Processes that make parts; None for a single one, which this process can be."""
    if workers == 1:
        return nullcontext()
    # The fork server starts processes with the imports of this module and nothing else of this process.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_hold, initargs=(recipe,))


_recipe: Recipe
"""In a process of the pool: sent once, because a tokenizer may be in it."""


def _hold(recipe: Recipe) -> None:
    global _recipe
    _recipe = recipe
    # A killed process cannot end its pool, and the pool would wait for work forever.
    Thread(target=_end_after, args=(parent_process(),), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _make_held_part(name: str, chunk: Chunk, path: Path) -> None:
    _make_part(name, chunk, _recipe, path)


def _make_parts(
    name: str, source: Source, recipe: Recipe, scratch: Path, pool: ProcessPoolExecutor | None, workers: int
) -> Iterator[Path]:
    """The parts of a source in order, each as soon as it and those before it are there."""
    scratch.mkdir(parents=True, exist_ok=True)
    ahead: deque[tuple[Future | None, Path]] = deque()
    for number, chunk in enumerate(source_chunks(source)):
        path = scratch / f"{number:06}.arrow"
        if pool is None and not path.exists():
            _make_part(name, chunk, recipe, path)
        running = None if path.exists() else pool.submit(_make_held_part, name, chunk, path)
        ahead.append((running, path))
        if len(ahead) > CHUNKS_AHEAD * workers:
            yield _finished(*ahead.popleft())
    while ahead:
        yield _finished(*ahead.popleft())


def _finished(running: Future | None, path: Path) -> Path:
    if running is not None:
        running.result()
    return path


def _make_part(name: str, chunk: Chunk, recipe: Recipe, path: Path) -> None:
    """Write a part whole or not at all."""
    tasks = chunk.tasks()
    table, counts = make_table(name, tasks, recipe)
    names = [task.task_id for task in tasks]
    unfinished = path.with_suffix(f".{os.getpid()}")
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    kept = {"counts": json.dumps(asdict(counts)), "names": json.dumps(names)}
    schema = table.schema.with_metadata({**table.schema.metadata, **kept})
    with pa.ipc.new_file(unfinished, schema, options=options) as file:
        file.write_table(table)
    unfinished.rename(path)


def _read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    included = columns and [TASKS.get_field_index(column) for column in columns]
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=included)).read_all()


def _part_facts(path: Path) -> tuple[Counts, list[str]]:
    """The counts of a part's tasks, and the names of all of them."""
    with pa.memory_map(str(path)) as file:
        metadata = pa.ipc.open_file(file).schema.metadata
    return Counts(**json.loads(metadata[b"counts"])), json.loads(metadata[b"names"])


# ------------------------------------------------------------------------------------------------ tasks to rows


def make_table(source: str, tasks: list[Task], recipe: Recipe) -> tuple[pa.Table, Counts]:
    """The rows of some tasks, in their order, those that are too long left out."""
    lengths: list[int] = []
    kept: list[Task] = []
    columns: dict[str, list] = {name: [] for name in TASKS.names if name not in ("train", "test")}
    keys = iter(canonical_keys([task for task in tasks if task.answered]))
    for task in tasks:
        canonical = next(keys) if task.answered else None
        for k in range(recipe.augmentations):
            row, augmentation, test_index = _augment(source, task, recipe, k)
            prompt, n_tokens = recipe.write_prompt(row, test_index)
            lengths.append(n_tokens)
            if n_tokens > recipe.max_prompt_tokens:
                continue
            kept.append(row)
            columns["row_id"].append(f"{source}/{task.task_id}" + (f"/{k}" if recipe.augment else ""))
            columns["task_id"].append(task.task_id)
            columns["source"].append(source)
            columns["test_index"].append(test_index)
            columns["augmentation"].append(augmentation and augmentation.to_json())
            columns["prompt"].append(prompt)
            columns["prompt_tokens"].append(n_tokens)
            columns["canonical"].append(canonical)
            columns["seen_in_training"].append(None)
    counts = Counts(len(tasks), len(lengths) - len(kept), shortest_prompt_tokens=min(lengths, default=None))
    arrays = {name: pa.array(values, TASKS.field(name).type) for name, values in columns.items()}
    arrays["train"] = _pairs_array([task.train for task in kept])
    arrays["test"] = _pairs_array([task.test for task in kept])
    return pa.Table.from_pydict(arrays, schema=TASKS), counts


def _augment(source: str, task: Task, recipe: Recipe, k: int) -> tuple[Task, Augmentation | None, int]:
    """The task of a row, its augmentation, and the test pair that its prompt asks for."""
    if not recipe.augment:
        return task, None, 0
    rng = row_rng(recipe.seed, source, task.task_id, k)
    augmentation = draw_augmentation(rng, len(task.train))
    return augmentation.apply_to_task(task), augmentation, int(rng.integers(len(task.test)))


def _pairs_array(pairs_of_rows: list[tuple[Pair, ...]]) -> pa.Array:
    """A column of pairs, made from the cells' bytes because Arrow is slow with lists of lists of numbers."""
    pairs = [pair for pairs in pairs_of_rows for pair in pairs]
    structs = pa.StructArray.from_arrays(
        [_grids_array([pair.input for pair in pairs]), _grids_array([pair.output for pair in pairs])],
        fields=list(PAIRS.value_type.fields),
    )
    return pa.ListArray.from_arrays(_offsets([len(pairs) for pairs in pairs_of_rows]), structs)


def _grids_array(grids: list[Grid | None]) -> pa.Array:
    known = [grid for grid in grids if grid is not None]
    cells = np.frombuffer(b"".join([grid.tobytes() for grid in known]), dtype=np.int8)
    shapes = [(0, 0) if grid is None else grid.shape for grid in grids]
    heights, widths = np.array(shapes, dtype=np.int32).reshape(-1, 2).T
    rows = pa.ListArray.from_arrays(_offsets(np.repeat(widths, heights)), pa.array(cells))
    null = None if len(known) == len(grids) else pa.array([grid is None for grid in grids])
    return pa.ListArray.from_arrays(_offsets(heights), rows, mask=null)


def _offsets(lengths: Iterable[int]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


# ------------------------------------------------------------------------------------------------ parts to a file


class _Writer:
    """Writes tables of rows to a Parquet file, and keeps account of them."""

    def __init__(self, output: Path):
        self.output = output
        self.counts: dict[str, Counts] = {}
        self.n_rows = 0
        self._tokens: dict[str, list[np.ndarray]] = {}
        self._held: list[pa.Table] = []

    def __enter__(self) -> "_Writer":
        # Dictionaries save space only in columns whose values recur.
        cells = [f"{part}.list.element.{side}.list.element.list.element" for part, side in _GRIDS]
        options = {"compression": "zstd", "compression_level": 1, "use_dictionary": ["source", *cells]}
        self._file = pq.ParquetWriter(self.output, TASKS, **options)
        return self

    def __exit__(self, error: type[BaseException] | None, *_) -> None:
        if error is None:
            self._flush()
        self._file.close()

    def write_source(
        self,
        name: str,
        parts: Iterator[Path],
        n_tasks: int | None,
        seed: int,
        label: Callable[[pa.Table], pa.Table] = lambda table: table,
    ) -> None:
        """Write the parts of a source, of at most `n_tasks` tasks.

        The tasks with the least hash of seed and name are chosen, so the choice of a task does not depend on other
        tasks.
        """
        counts = self.counts[name] = Counts()
        self._tokens[name] = []
        drawn = None
        if n_tasks is not None:
            parts = list(tqdm(parts, desc=name, unit=" chunks", mininterval=1))
            labelled = (label(_read_part(path, _LABEL_COLUMNS)) for path in parts)
            names = {task_id for table in labelled for task_id in table["task_id"].to_pylist()}
            luck = {task_id: hashlib.sha256(f"{seed}/{task_id}".encode()).digest() for task_id in names}
            drawn = pa.array(heapq.nsmallest(n_tasks, names, key=luck.__getitem__), pa.string())
            counts.tasks_not_drawn = len(names) - len(drawn)
        seen: set[str] = set()
        progress = tqdm(desc=name, unit=" tasks", mininterval=1)
        for path in parts:
            table = _read_part(path)
            part, task_names = _part_facts(path)
            _add_names(name, seen, task_names)
            counts.add(part)
            progress.update(part.tasks_read)
            kept = label(table)
            counts.tasks_in_training += len(table) - len(kept)
            if drawn is not None:
                kept = kept.filter(pc.is_in(kept["task_id"], value_set=drawn))
            self._write(name, kept)
        progress.close()

    def _write(self, name: str, table: pa.Table) -> None:
        self.n_rows += len(table)
        self._tokens[name].append(table["prompt_tokens"].to_numpy())
        self._held.append(table)
        if sum(map(len, self._held)) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            table = pa.concat_tables(self._held).replace_schema_metadata(TASKS.metadata)
            self._file.write_table(table, row_group_size=max(len(table), 1))
        self._held = []

    def refuse_empty(self, key: str, max_prompt_tokens: int) -> None:
        """Raise ValueError if no row was written, and name the length that would admit one."""
        if self.n_rows:
            return
        lengths = [counts.shortest_prompt_tokens for counts in self.counts.values()]
        shortest = min((length for length in lengths if length is not None), default=None)
        if shortest is None:
            raise ValueError(f"sources: {', '.join(self.counts)} have no task at all; choose another source")
        raise ValueError(
            f"{key}: {max_prompt_tokens} leaves no task, because the shortest prompt has {shortest} tokens; "
            f"write {shortest} or more"
        )

    def manifest(self) -> dict:
        """The content of the JSON beside the file."""
        with open(self.output, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        sources = {}
        for name, counts in self.counts.items():
            tokens = np.concatenate(self._tokens[name])
            shown = (
                {"min": int(tokens.min()), "median": float(np.median(tokens)), "max": int(tokens.max())}
                if len(tokens)
                else None
            )
            sources[name] = {**asdict(counts), "rows": len(tokens), "prompt_tokens": shown}
        return {"schema_version": SCHEMA_VERSION, "rows": self.n_rows, "sha256": sha256, "sources": sources}


def _add_names(source: str, names: set[str], more: list[str]) -> None:
    try:
        add_names(names, more)
    except ValueError as error:
        raise ValueError(f"sources.{source}: {error}") from None


_GRIDS = [(part, side) for part in ("train", "test") for side in ("input", "output")]
_LABEL_COLUMNS = ("task_id", "canonical", "seen_in_training")
