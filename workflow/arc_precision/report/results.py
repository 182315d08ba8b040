"""Finds and reads the files of an experiment. Their paths, relative to its folder, say what they are."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

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


class Evaluated(NamedTuple):
    """A checkpoint on one set, sampled in one dtype."""

    checkpoint: Checkpoint
    set: str
    dtype: str


@dataclass(frozen=True)
class Selection:
    """What the configuration selects. Files of anything else are left over from another one, and passed over."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    sets: tuple[str, ...]
    max_steps: int

    def runs(self) -> list[Run]:
        """Every arm with every seed."""
        return [Run(arm, seed) for arm in self.arms for seed in self.seeds]

    def has(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is the base model's or one of a selected run."""
        if checkpoint.step > self.max_steps:
            return False
        return checkpoint == (BASE, None, 0) or (checkpoint.arm in self.arms and checkpoint.seed in self.seeds)


@dataclass
class Results:
    """The files that are there, by what they hold. Segments of a run are in the order of their steps."""

    steps: dict[Run, list[Path]] = field(default_factory=dict)
    timing: dict[Run, list[Path]] = field(default_factory=dict)
    facts: dict[Run, list[Path]] = field(default_factory=dict)
    scores: dict[Evaluated, Path] = field(default_factory=dict)
    samples: dict[Evaluated, Path] = field(default_factory=dict)
    chains: dict[Checkpoint, Path] = field(default_factory=dict)
    tasks: dict[str, Path] = field(default_factory=dict)
    manifests: dict[str, Path] = field(default_factory=dict)
    benchmarks: dict[str, list[Path]] = field(default_factory=dict)
    running: bool = False
    """Whether jobs may be writing files."""


_SEGMENT = re.compile(r"runs/(?P<arm>[^/]+)/seed-(?P<seed>\d+)/(?P<kind>steps|timing|facts)-(?P<stop>\d+)\.jsonl?")
_RUN_AT_STEP = r"(?P<arm>[^/]+)(/seed-(?P<seed>\d+))?/step-(?P<step>\d+)/"
_EVALUATED = re.compile(r"(?P<kind>scores|samples)/" + _RUN_AT_STEP + r"(?P<set>[^/]+)\.(?P<dtype>\w+)\.parquet")
_CHAIN = re.compile(r"audit/" + _RUN_AT_STEP + r"chain\.json")
_TASKS = re.compile(r"data/(?P<set>[^/]+)\.parquet")
_MANIFEST = re.compile(r"(?P<name>(data|model)/[^/]+)\.json")
_BENCHMARK = re.compile(r"benchmarks/(?P<rule>[^/]+?)(/.*)?\.tsv")


def find_results(root: Path, files: Iterable[Path] | None, selection: Selection) -> Results:
    """Sort files under `root` by what they hold; `files` None takes all that lie there.

    Raises:
        ValueError: a file is not under `root`.
    """
    found = Results(running=files is None)
    segments = {"steps": found.steps, "timing": found.timing, "facts": found.facts}
    evaluated = {"scores": found.scores, "samples": found.samples}
    paths = [path for path in root.rglob("*") if _is_finished(path)] if files is None else files
    # Benchmarks are nobody's input: they say how long things took, and decide nothing.
    benchmarks = (root / "benchmarks").rglob("*.tsv")
    for path in sorted({*paths, *benchmarks}, key=_natural):
        if not path.is_relative_to(root):
            raise ValueError(f"{path}: not under {root}; give files of this experiment only")
        name = path.relative_to(root).as_posix()
        if match := _SEGMENT.fullmatch(name):
            run = Run(match["arm"], int(match["seed"]))
            if run in selection.runs() and int(match["stop"]) <= selection.max_steps:
                segments[match["kind"]].setdefault(run, []).append(path)
        elif match := _EVALUATED.fullmatch(name):
            checkpoint = _checkpoint(match)
            if selection.has(checkpoint) and match["set"] in selection.sets:
                evaluated[match["kind"]][Evaluated(checkpoint, match["set"], match["dtype"])] = path
        elif match := _CHAIN.fullmatch(name):
            if selection.has(_checkpoint(match)):
                found.chains[_checkpoint(match)] = path
        elif match := _TASKS.fullmatch(name):
            found.tasks[match["set"]] = path
        elif match := _MANIFEST.fullmatch(name):
            found.manifests[match["name"]] = path
        elif match := _BENCHMARK.fullmatch(name):
            found.benchmarks.setdefault(match["rule"], []).append(path)
    return found


def _is_finished(path: Path) -> bool:
    """Whether a file is more than begun: jobs may be writing while the report of a running experiment is made."""
    if path.suffix != ".parquet":
        return path.is_file()
    with path.open("rb") as file:
        return file.seek(0, 2) > 8 and file.seek(-4, 2) and file.read() == b"PAR1"  # Parquet's last four bytes


def _checkpoint(match: re.Match) -> Checkpoint:
    return Checkpoint(match["arm"], int(match["seed"]) if match["seed"] else None, int(match["step"]))


def _natural(path: Path) -> list:
    """Sort key under which step 20 comes before step 100."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.as_posix())]
