"""Parts: the rows of a source's chunks, each in a file of its own, made by as many processes as are allowed."""

import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

import pyarrow as pa

from arc_precision.config.data import Source
from arc_precision.contracts.tasks import TASKS
from arc_precision.tasks.row_tables import Counts, Recipe, make_table
from arc_precision.tasks.sources import Chunk, source_chunks

CHUNKS_AHEAD = 8
"""Chunks per process that may be read before their rows are written; each is about one MB."""


def process_pool(recipe: Recipe, workers: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
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


def make_parts(
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


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a part, with all columns or some."""
    included = columns and [TASKS.get_field_index(column) for column in columns]
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=included)).read_all()


def part_facts(path: Path) -> tuple[Counts, list[str]]:
    """The counts of a part's tasks, and the names of all of them."""
    with pa.memory_map(str(path)) as file:
        metadata = pa.ipc.open_file(file).schema.metadata
    return Counts(**json.loads(metadata[b"counts"])), json.loads(metadata[b"names"])
