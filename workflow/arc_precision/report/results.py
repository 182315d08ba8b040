"""Finds and reads the files of an experiment. Their paths, relative to its folder, identify their contents."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from arc_precision.contracts import layout
from arc_precision.contracts.layout import BASE, Checkpoint, Evaluated, Run


@dataclass(frozen=True)
class Selection:
    """The runs and evaluations that the configuration selects. Other files are left over from another one, and
    skipped."""

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
    """The files that exist, by content. Segments of a run are in the order of their steps."""

    steps: dict[Run, list[Path]] = field(default_factory=dict)
    timing: dict[Run, list[Path]] = field(default_factory=dict)
    facts: dict[Run, list[Path]] = field(default_factory=dict)
    completions: dict[Run, list[Path]] = field(default_factory=dict)
    scores: dict[Evaluated, Path] = field(default_factory=dict)
    samples: dict[Evaluated, Path] = field(default_factory=dict)
    costs: dict[Evaluated, Path] = field(default_factory=dict)
    chains: dict[Checkpoint, Path] = field(default_factory=dict)
    tasks: dict[str, Path] = field(default_factory=dict)
    manifests: dict[str, Path] = field(default_factory=dict)
    benchmarks: dict[str, list[Path]] = field(default_factory=dict)
    running: bool = False
    """Whether jobs may be writing files."""


def find_results(root: Path, files: Iterable[Path] | None, selection: Selection) -> Results:
    """Sort files under `root` by content; `files` None takes all of them.

    Raises:
        ValueError: a file is not under `root`.
    """
    found = Results(running=files is None)
    segments = (
        (layout.STEPS, found.steps),
        (layout.TIMING, found.timing),
        (layout.FACTS, found.facts),
        (layout.COMPLETIONS, found.completions),
    )
    evaluated = ((layout.SCORES, found.scores), (layout.SAMPLES, found.samples), (layout.SAMPLING_COST, found.costs))
    paths = [path for path in root.rglob("*") if _is_finished(path)] if files is None else files
    # Benchmarks are inputs of no rule, because the time that a job took changes no result.
    benchmarks = (root / "benchmarks").rglob("*.tsv")
    for path in sorted({*paths, *benchmarks}, key=layout.natural):
        if not path.is_relative_to(root):
            raise ValueError(f"{path}: not under {root}; give files of this experiment only")
        name = path.relative_to(root).as_posix()
        for pattern, by_run in segments:
            if values := pattern.parse(name):
                run = Run(values["arm"], int(values["seed"]))
                if run in selection.runs() and int(values["stop"]) <= selection.max_steps:
                    by_run.setdefault(run, []).append(path)
        for pattern, by_evaluated in evaluated:
            if values := pattern.parse(name):
                checkpoint = layout.checkpoint_of(values)
                if selection.has(checkpoint) and values["set"] in selection.sets:
                    by_evaluated[Evaluated(checkpoint, values["set"], values["dtype"])] = path
        if values := layout.AUDIT_CHAIN.parse(name):
            if selection.has(layout.checkpoint_of(values)):
                found.chains[layout.checkpoint_of(values)] = path
        elif values := layout.ROWS.parse(name):
            found.tasks[values["set"]] = path
        elif layout.ROWS_MANIFEST.parse(name) or layout.MODEL_MANIFEST.parse(name):
            found.manifests[name.removesuffix(".json")] = path
        elif rule := layout.benchmarked_rule(name):
            found.benchmarks.setdefault(rule, []).append(path)
    return found


def _is_finished(path: Path) -> bool:
    """Whether a file is complete: jobs may be writing while the report of a running experiment is made."""
    if path.suffix != ".parquet":
        return path.is_file()
    with path.open("rb") as file:
        return file.seek(0, 2) > 8 and file.seek(-4, 2) and file.read() == b"PAR1"  # Parquet's last four bytes
