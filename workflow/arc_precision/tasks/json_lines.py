"""BARC's JSON Lines, read as a stream: each line a task in ARC's JSON, or `examples`, a list of [input, output].

A task is named after its line, because BARC's lines have no names.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arc_precision.config.data import Division
from arc_precision.tasks.barc import CHUNK_BYTES, MAX_TASK_BYTES, unzipped
from arc_precision.tasks.division import divided
from arc_precision.tasks.grids import Task, each_key_once, task_from_json


@dataclass(frozen=True)
class LinesChunk:
    """Some lines of a file, as text."""

    path: str
    first: int
    """Number of its first line, from 1."""
    text: bytes
    division: Division

    def tasks(self) -> list[Task]:
        """The tasks.

        Raises:
            ValueError: a line is no JSON, or no task; the message says which.
        """
        numbered = enumerate(self.text.split(b"\n"), start=self.first)
        return [task for number, line in numbered if line.strip() for task in self._tasks_of(number, line)]

    def _tasks_of(self, number: int, line: bytes) -> list[Task]:
        place, name = f"{self.path}: line {number}", f"line-{number}"
        try:
            content = json.loads(line, object_pairs_hook=each_key_once)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{place}: not JSON: {error}; write one task per line") from None
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        match content:
            case {"train": _}:
                return [task_from_json(name, content, self.path)]
            case {"examples": [*examples]}:
                return divided(name, list(map(_as_arc, examples)), self.division, place)
        raise ValueError(f"{place}: neither train and test pairs nor a list of examples; write one task per line")


def _as_arc(example: Any) -> Any:
    """An example as a pair of ARC's JSON. Anything else stays as it is, and is refused later."""
    match example:
        case [given, wanted]:
            return {"input": given, "output": wanted}
    return example


def read_lines(path: Path, division: Division) -> Iterator[LinesChunk]:
    """The file in chunks of whole lines, of at least `CHUNK_BYTES` except the last.

    Raises:
        ValueError: the file is truncated, or has no line at all.
    """
    first = 1
    buffer, end = bytearray(), -1  # of the last whole line in it
    try:
        for block in unzipped(path):
            if b"\n" in block:
                end = len(buffer) + block.rindex(b"\n")
            buffer += block
            if len(buffer) < CHUNK_BYTES:
                continue
            if end >= 0:
                yield LinesChunk(str(path), first, bytes(buffer[:end]), division)
                first += buffer.count(b"\n", 0, end + 1)
                del buffer[: end + 1]
                end = -1
            elif len(buffer) > MAX_TASK_BYTES:
                raise ValueError(f"no line ends within {MAX_TASK_BYTES} bytes")
    except (zlib.error, ValueError) as error:
        n_lines = first - 1 + buffer.count(b"\n")
        raise ValueError(f"{path}: breaks off after {n_lines} lines ({error}); put a whole file there") from None
    if buffer.strip():
        yield LinesChunk(str(path), first, bytes(buffer), division)
    elif first == 1:
        raise ValueError(f"{path}: no task in it; put BARC's file there")
