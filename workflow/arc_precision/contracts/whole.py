"""Reading files of results that are believed only if they are whole.

A file that was cut or edited is a fault of the input: the sentence names the file and the way to make it again.
"""

import json
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class DamagedFile(ValueError):
    """A file of the results is not as it was written."""

    def __init__(self, path: Path | str, reason: object) -> None:
        text = " ".join(str(reason).split())
        super().__init__(f"{path}: damaged ({text[:200]}); make it again with: snakemake --forcerun {path}")


def read_object(path: Path, version: int | None, keys: Collection[str]) -> dict[str, Any]:
    """A JSON file that holds one object.

    Args:
        version: its `schema_version`; None where it has none.
        keys: those that it must have.

    Raises:
        DamagedFile: it is no JSON, lacks a key, or is of another version.
    """
    return _read(path, lambda text: _checked(json.loads(text), version, keys))


def read_steps(path: Path, version: int, keys: Collection[str], steps: Iterable[int] | None) -> list[dict[str, Any]]:
    """Rows of a JSONL file with one row per optimizer step.

    Args:
        version: the `schema_version` of every row.
        keys: those that every row must have.
        steps: of the rows, in order; None while a job may be writing the file, and then a last line without an end is
        left out.

    Raises:
        DamagedFile: a row is no JSON, lacks a key or is of another version, or the rows are not those of `steps`.
    """

    def rows(text: str) -> list[dict[str, Any]]:
        lines = text.split("\n")
        if steps is not None and lines[-1]:
            raise ValueError("its last line has no end")
        found = [_checked(json.loads(line), version, keys) for line in lines[:-1]]
        if steps is not None and [row["step"] for row in found] != (wanted := list(steps)):
            belong = f"steps {wanted[0]} to {wanted[-1]}" if wanted else "no steps"
            raise ValueError(f"{len(found)} rows where {belong} belong")
        return found

    return _read(path, rows)


def _read(path: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, error) from None


def _checked(content: Any, version: int | None, keys: Collection[str]) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    if version is not None and content.get("schema_version") != version:
        raise ValueError(f"schema_version {content.get('schema_version')} where {version} is read")
    if missing := sorted(set(keys) - content.keys()):
        raise ValueError(f"{missing[0]} is missing")
    return content
