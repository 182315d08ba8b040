"""Finds and reads the files of an experiment. Their paths say what they are; see docs/design.md for the layout."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

BASE = "base"  # stands for the arm of the untrained model


class Run(NamedTuple):
    """One arm with one seed."""

    arm: str
    seed: int


class Checkpoint(NamedTuple):
    """A kept checkpoint. The base model is arm `base`, seed None, step 0."""

    arm: str
    seed: int | None
    step: int


class Scored(NamedTuple):
    """An evaluated checkpoint: on one set, sampled in one dtype."""

    checkpoint: Checkpoint
    set: str
    dtype: str


@dataclass
class Results:
    """The files that are there, by what they hold. Nothing is read until it is asked for."""

    root: Path
    steps: dict[Run, list[Path]] = field(default_factory=dict)
    timing: dict[Run, list[Path]] = field(default_factory=dict)
    facts: dict[Run, list[Path]] = field(default_factory=dict)
    scores: dict[Scored, Path] = field(default_factory=dict)
    chains: dict[Checkpoint, Path] = field(default_factory=dict)
    manifests: dict[str, Path] = field(default_factory=dict)
    tasks: dict[str, Path] = field(default_factory=dict)

    def json(self, path: Path) -> Any:
        """A JSON file."""
        return json.loads(path.read_text(encoding="utf-8"))

    def rows(self, paths: Iterable[Path]) -> pd.DataFrame:
        """JSONL files one after another, sorted by step. Null becomes NaN in numeric columns."""
        rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
        return pd.DataFrame(sorted(rows, key=lambda row: row["step"]))


_RUN = r"runs/(?P<arm>[^/]+)/seed-(?P<seed>\d+)/"
_PATTERNS = {
    "steps": re.compile(_RUN + r"steps-(?P<last>\d+)\.jsonl"),
    "timing": re.compile(_RUN + r"timing-(?P<last>\d+)\.jsonl"),
    "facts": re.compile(_RUN + r"facts-(?P<last>\d+)\.json"),
    "scores": re.compile(
        r"scores/(?P<arm>[^/]+)/(seed-(?P<seed>\d+)/)?step-(?P<step>\d+)/(?P<set>.+)\.(?P<dtype>[^.]+)\.parquet"
    ),
    "chains": re.compile(r"audit/(?P<arm>[^/]+)/(seed-(?P<seed>\d+)/)?step-(?P<step>\d+)/chain\.json"),
    "manifests": re.compile(r"(?P<name>(data|model)/[^/]+)\.json"),
    "tasks": re.compile(r"data/(?P<name>[^/]+)\.parquet"),
}


def find_results(
    root: Path,
    files: Iterable[Path] | None,
    arms: Iterable[str],
    seeds: Iterable[int],
    sets: Iterable[str],
    max_steps: int,
) -> Results:
    """Sort files under `root` by what they hold; `files` None takes all that are there.

    Files of other arms, seeds, sets or later steps, left over from another configuration, are passed over.

    Raises:
        ValueError: a file is not under `root`.
    """
    arms, seeds, sets = set(arms), set(seeds), set(sets)
    found = Results(root)
    for path in sorted(root.rglob("*") if files is None else files):
        if not path.is_relative_to(root):
            raise ValueError(f"{path}: not under {root}; give files of this experiment only")
        name = path.relative_to(root).as_posix()
        for kind, pattern in _PATTERNS.items():
            match = pattern.fullmatch(name)
            if match:
                _sort_in(found, kind, path, match.groupdict(), arms, seeds, sets, max_steps)
    for paths in (*found.steps.values(), *found.timing.values(), *found.facts.values()):
        paths.sort(key=_last_step)
    return found


def _sort_in(
    found: Results, kind: str, path: Path, match: dict, arms: set, seeds: set, sets: set, max_steps: int
) -> None:
    if kind in ("manifests", "tasks"):
        getattr(found, kind)[match["name"]] = path
        return
    seed = int(match["seed"]) if match["seed"] is not None else None
    is_base = match["arm"] == BASE and seed is None
    if not is_base and (match["arm"] not in arms or seed not in seeds):
        return
    if kind in ("steps", "timing", "facts"):
        if int(match["last"]) <= max_steps:
            getattr(found, kind).setdefault(Run(match["arm"], seed), []).append(path)
        return
    checkpoint = Checkpoint(match["arm"], seed, int(match["step"]))
    if checkpoint.step > max_steps:
        return
    if kind == "chains":
        found.chains[checkpoint] = path
    elif match["set"] in sets:
        found.scores[Scored(checkpoint, match["set"], match["dtype"])] = path


def _last_step(path: Path) -> int:
    return int(path.stem.rsplit("-", 1)[1])


def read_table(path: Path, schema: pa.Schema, columns: list[str]) -> pa.Table:
    """Columns of a file that follows a contract, as one Arrow table.

    Raises:
        ValueError: the file follows another version of the contract.
    """
    file = pq.ParquetFile(path)
    found = (file.schema_arrow.metadata or {}).get(b"schema_version")
    if found != schema.metadata[b"schema_version"]:
        raise ValueError(
            f"{path}: schema_version {found} is not the one this version reads; delete the file and run again"
        )
    return file.read(columns=columns)
