"""BARC's `dataset_100k.json.gz`, gzip or not: one JSON object of tasks by name, read as a stream.

The file is stripped of blanks and cut between tasks into chunks of text; the process that works on a chunk parses it.
Files in BARC's own layout (keys in the order train, test; input, output) are parsed ten times faster than by a general
JSON parser. Text in another layout goes through a general parser, and is an error if that refuses it.
"""

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from arc_precision.tasks.grids import MAX_SIDE, Grid, Pair, Task, each_key_once, task_from_json
from arc_precision.tasks.source_files import is_gzip

READ_BYTES = 1 << 16
CHUNK_BYTES = 1 << 20
MAX_TASK_BYTES = 64 << 20

_BETWEEN_TASKS = re.compile(rb'\}\s*,\s*(?=")')  # pairs are separated by }, { and train and test by ], "
_BLANKS = b" \t\r\n"
_TEXT_FIRST = re.compile(rb'\{\s*"[^"]*"\s*:\s*"')  # BARC's JSON Lines begin so


@dataclass(frozen=True)
class BarcChunk:
    """Some tasks of a file, as text: `"name":{...},"name":{...}`."""

    path: str
    number: int
    """Place among the file's chunks, from 0."""
    text: bytes

    def tasks(self) -> list[Task]:
        """The tasks.

        Raises:
            ValueError: it is not JSON, or not a task; the message says after how many tasks of the file.
        """
        tasks = _parse_plain(self.text)
        return self._parse_json() if tasks is None else tasks

    def _parse_json(self) -> list[Task]:
        decode = json.JSONDecoder(object_pairs_hook=each_key_once).raw_decode
        tasks: list[Task] = []
        text, position = "", 0
        while True:
            try:
                text = text or self.text.decode()
                task_id, position = decode(text, _skip(text, position, ""))
                data, position = decode(text, _skip(text, position, ":"))
                position = _skip(text, position, "")
                if not isinstance(task_id, str) or text[position : position + 1] not in (",", ""):
                    raise ValueError("a task is a name, a colon, an object, and a comma before the next")
            except RecursionError:
                raise _broken(Path(self.path), self.number, len(tasks), "it is nested too deeply") from None
            except ValueError as error:
                raise _broken(Path(self.path), self.number, len(tasks), error) from None
            tasks.append(task_from_json(task_id, data, self.path))
            if position == len(text):
                return tasks
            position += 1


def read_chunks(path: Path) -> Iterator[BarcChunk]:
    """The file in chunks of at least `CHUNK_BYTES` of text without blanks, except the last.

    Raises:
        ValueError: the file is truncated, or is not an object of tasks.
    """
    number = 0
    buffer = bytearray()
    try:
        for block in _without_blanks(_object_text(path)):
            buffer += block
            if len(buffer) < CHUNK_BYTES:
                continue
            if cut := _last_task_end(buffer, len(buffer) - len(block) - READ_BYTES):
                yield BarcChunk(str(path), number, bytes(buffer[: cut[0]]))
                number += 1
                del buffer[: cut[1]]
            elif len(buffer) > MAX_TASK_BYTES:
                raise ValueError(f"no task ends within {MAX_TASK_BYTES} bytes")
        buffer = buffer.strip(_BLANKS)
        if not buffer.endswith(b"}"):
            raise ValueError("the last brace is missing")
        tasks = bytes(buffer[:-1].rstrip(_BLANKS))
        if tasks.endswith(b","):
            raise ValueError("a comma stands before the last brace")
    except (zlib.error, ValueError) as error:
        raise _broken(path, number, len(_BETWEEN_TASKS.findall(buffer)), error) from None
    if tasks:
        yield BarcChunk(str(path), number, tasks)
    elif not number:
        raise ValueError(f"{path}: no task in it; put BARC's file there")


def _object_text(path: Path) -> Iterator[bytes]:
    """The text after the file's first brace, in blocks."""
    start = b""
    for block in unzipped(path):
        if start.startswith(b"{"):
            yield block
            continue
        start = (start + block).lstrip(_BLANKS)
        if start and not start.startswith(b"{"):
            raise ValueError("no JSON object of tasks by name")
        if _TEXT_FIRST.match(start):
            raise ValueError("a text where a task belongs; JSON Lines are read from a file named *.jsonl or *.jsonl.gz")
        yield start[1:]


def _without_blanks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks without the blanks outside strings, which are nearly all of the text in BARC's indented file.

    A block with a backslash, which may hide the end of a string, stays as it is. Faulty JSON can become valid by this,
    but not a row that lacks a comma: its digits join to a number that is no colour.
    """
    in_string = False
    escape = b""  # a backslash at a block's end belongs to the next character
    for block in blocks:
        block = escape + block
        if b"\\" in block:
            unescaped = re.sub(rb"\\.", b"", block, flags=re.DOTALL)
            escape = b"\\" if unescaped.endswith(b"\\") else b""
            yield block.removesuffix(escape)
            in_string ^= unescaped.count(b'"') % 2
            continue
        words = block.split(b'"')  # text outside quotation marks and inside them, in turn
        words[in_string::2] = [word.translate(None, _BLANKS) for word in words[in_string::2]]
        yield b'"'.join(words)
        in_string ^= len(words) % 2 == 0
    yield escape


def unzipped(path: Path) -> Iterator[bytes]:
    """A file's content in blocks, unzipped if it is gzip. A truncated file gives all its content before the error."""
    if not is_gzip(path):
        with open(path, "rb") as file:
            while block := file.read(READ_BYTES):
                yield block
        return
    stream = zlib.decompressobj(wbits=31)  # gzip
    with open(path, "rb") as file:
        while block := file.read(READ_BYTES):
            while block:
                if stream.eof:  # a gzip file may have several parts
                    stream = zlib.decompressobj(wbits=31)
                yield stream.decompress(block)
                block = stream.unused_data
    if not stream.eof:
        raise ValueError("the gzip stream ends too early")


def _broken(path: Path, n_chunks: int, n_more: int, error: Exception | str) -> ValueError:
    """The error for a file that ends or turns invalid after some whole chunks and some more tasks."""
    whole = islice(read_chunks(path), n_chunks)
    n_tasks = n_more + sum(len(_BETWEEN_TASKS.findall(chunk.text)) + 1 for chunk in whole)
    return ValueError(f"{path}: breaks off after {n_tasks} tasks ({error}); put a whole file there")


def _last_task_end(text: bytearray, start: int) -> tuple[int, int] | None:
    """Where the last whole task followed by another ends, and where that next one begins, looked for from `start`."""
    found = list(_BETWEEN_TASKS.finditer(text, max(start, 0)))
    return (found[-1].start() + 1, found[-1].end()) if found else None


def _skip(text: str, position: int, sign: str) -> int:
    """The position after blanks, the character, and blanks again."""
    match = re.compile(rf"\s*{sign}\s*").match(text, position)
    if not match:
        raise ValueError(f"no {sign!r} at character {position}")
    return match.end()


# ------------------------------------------------------------------------------------------------ the plain layout

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_DIGITS_TO_VALUE = bytes.maketrans(b"0123456789", bytes(range(10)))


def _parse_plain(text: bytes) -> list[Task] | None:
    """The tasks of a chunk in BARC's own layout, or None where anything at all differs from it."""
    words = text.split(b'"')  # text outside quotation marks, and inside them, in turn
    if b"\\" in text or words[0]:
        return None
    tasks: list[Task] = []
    stream = zip(words[1::2], words[2::2], strict=True)
    for name, sign in stream:
        if sign != b":{":
            return None
        parts = []
        for part in (b"train", b"test"):
            if next(stream, None) != (part, b":[{"):
                return None
            pairs, after = _parse_pairs(stream)
            parts.append(tuple(pairs))
            if after != (b"}]," if part == b"train" else b"}]},") and (part, after) != (b"test", b"}]}"):
                return None
        if not name.strip() or not name.isascii():
            return None
        tasks.append(Task(name.decode(), *parts))
    return tasks


def _parse_pairs(stream: Iterator[tuple[bytes, bytes]]) -> tuple[list[Pair], bytes]:
    """Pairs up to the end of their list, and the characters there; other characters mean that the layout differs."""
    pairs = []
    while True:
        (first, before), (second, after) = next(stream, (b"", b"")), next(stream, (b"", b""))
        end = after.rfind(b"]]") + 2
        if (first, second) != (b"input", b"output") or not before.startswith(b":") or not before.endswith(b","):
            return pairs, b""
        grids = _parse_grid(before[1:-1]), _parse_grid(after[1:end])
        if not after.startswith(b":") or grids[0] is None or grids[1] is None:
            return pairs, b""
        pairs.append(Pair(*grids))
        if after[end:] != b"},{":
            return pairs, after[end:]


def _parse_grid(text: bytes) -> Grid | None:
    """The grid that compact JSON spells in full, or None."""
    width = (text.find(b"]") - 1) // 2
    if not 0 < width <= MAX_SIDE:
        return None
    height = (len(text) - 1) // (2 * width + 2)
    if not 0 < height <= MAX_SIDE:
        return None
    if text.translate(_DIGITS_TO_ZERO) != _zeros(height, width):
        return None
    return np.frombuffer(text.translate(_DIGITS_TO_VALUE, b"[],"), dtype=np.int8).reshape(height, width)


@cache
def _zeros(height: int, width: int) -> bytes:
    """A grid of zeros in compact JSON."""
    row = b"[" + b",".join([b"0"] * width) + b"]"
    return b"[" + b",".join([row] * height) + b"]"
