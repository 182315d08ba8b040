"""Tasks with a program that solves each: the generator's, and BARC's own."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from arc_precision.config.data import GeneratedSource
from arc_precision.config.warm_start import SolvedBarcSource
from arc_precision.tasks.barc import BarcChunk, read_chunks
from arc_precision.tasks.generator import generate_task
from arc_precision.tasks.grids import Task
from arc_precision.tasks.source_files import barc_file

CHUNK_TASKS = 100


class SolvedChunk(Protocol):
    """Some tasks of a source, cheap to hand to another process."""

    start: int
    """Number of its first task in the source."""

    def solved(self) -> list[tuple[Task, str]]:
        """The tasks, each with its program in a fence."""


def solved_chunks(source: GeneratedSource | SolvedBarcSource) -> Iterator[SolvedChunk]:
    """The tasks of a source in their order.

    Raises:
        ValueError: the file is missing or is not valid.
    """
    if isinstance(source, GeneratedSource):
        for start in range(0, source.n_tasks, CHUNK_TASKS):
            yield GeneratedSolutions(source, start, min(start + CHUNK_TASKS, source.n_tasks))
    else:
        yield from _barc_chunks(source)


def _barc_chunks(source: SolvedBarcSource) -> Iterator[SolvedChunk]:
    start = 0
    for chunk in read_chunks(barc_file(Path(source.path))):
        yield BarcSolutions(chunk, start, source.n_tasks - start)
        start += chunk.text.count(b'"train"')  # a quotation mark inside a program is escaped
        if start >= source.n_tasks:
            return


@dataclass(frozen=True)
class GeneratedSolutions:
    """Tasks `start` to `stop` of the generator."""

    source: GeneratedSource
    start: int
    stop: int

    def solved(self) -> list[tuple[Task, str]]:
        """See `SolvedChunk`."""
        generated = [generate_task(self.source.seed, i, self.source.depths) for i in range(self.start, self.stop)]
        return [(made.task, made.completion) for made in generated]


@dataclass(frozen=True)
class BarcSolutions:
    """A chunk of BARC's file, of which at most `limit` tasks are wanted."""

    chunk: BarcChunk
    start: int
    limit: int

    def solved(self) -> list[tuple[Task, str]]:
        """See `SolvedChunk`.

        Raises:
            ValueError: a task has no program, or is not valid.
        """
        tasks = self.chunk.tasks()[: self.limit]
        content = json.loads(b"{" + self.chunk.text + b"}")
        return [(task, barc_completion(self._source_of(task, content[task.task_id]))) for task in tasks]

    def _source_of(self, task: Task, data: dict) -> str:
        program = data.get("source")
        if not isinstance(program, str) or "def main(" not in program:
            raise ValueError(
                f"{self.chunk.path}: task {task.task_id:.80}: no program to learn from; give each task its `source`, "
                "a text with BARC's function `main`"
            )
        return program


# BARC's older names of colours, and those of the prompt.
_COLORS = {"grey": "gray", "teal": "purple", "maroon": "brown"}
_OLD_COLOR = re.compile(rf"(?<![a-z])({'|'.join(_COLORS)})(?![a-z])", re.IGNORECASE)


def barc_completion(source: str) -> str:
    """BARC's program as the answer to a prompt.

    Its generator of inputs is left out, `main` is called `transform`, and colours have the names of the prompt: as
    BARC's own models were trained (github.com/xu3kev/BARC).
    """
    program = source.split("def generate_input")[0].strip().replace("def main(", "def transform(")
    return f"```python\n{_OLD_COLOR.sub(_new_color, program)}\n```"


def _new_color(match: re.Match[str]) -> str:
    new = _COLORS[match[0].lower()]
    if match[0].isupper():
        return new.upper()
    return new.capitalize() if match[0].istitle() else new
