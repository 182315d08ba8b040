"""Files of a segment: where they lie, and a checkpoint as few named files instead of the trainer's own folder."""

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState

from arc_precision.contracts.steps import SCHEMA_VERSION, STEP
from arc_precision.contracts.whole import DamagedFile, read_steps
from arc_precision.model.folder import check_trained, trained_files

ALWAYS_SAVED = ("optimizer.pt", "scheduler.pt", "trainer_state.json", "steps.jsonl")
STATE_FILES = (*ALWAYS_SAVED, "scaler.pt", "rng_state.pth")


@dataclass(frozen=True)
class SegmentFiles:
    """Where a segment reads and writes.

    Checkpoint folders hold the adapter, or with full fine-tuning the model, and `trainer_state.tar`; the last also has
    the rows of all steps so far, as collapse is judged on the whole run.
    """

    train: Path
    model: Path
    previous: Path | None  # checkpoint folder of the segment before
    previous_facts: Path | None
    checkpoint: Path
    steps: Path
    timing: Path
    completions: Path
    facts: Path

    @classmethod
    def of_run(cls, folder: Path, start: int, stop: int, train: Path, model: Path) -> "SegmentFiles":
        """The files of the segment from step `start` (0: the first) to `stop`, in the folder of its run.

        They are those of `contracts.layout`, which is not imported: a new path of the report would retrain.
        """
        return cls(
            train=train,
            model=model,
            previous=folder / f"checkpoint-{start}" if start else None,
            previous_facts=folder / f"facts-{start}.json" if start else None,
            checkpoint=folder / f"checkpoint-{stop}",
            steps=folder / f"steps-{stop}.jsonl",
            timing=folder / f"timing-{stop}.jsonl",
            completions=folder / f"completions-{stop}.jsonl",
            facts=folder / f"facts-{stop}.json",
        )


def pass_on(files: SegmentFiles, before: dict[str, Any]) -> None:
    """A run that has stopped keeps its last checkpoint through the remaining segments, without any work."""
    files.checkpoint.mkdir(parents=True, exist_ok=True)
    for name in (*trained_files(files.previous), "trainer_state.tar"):
        shutil.copyfile(files.previous / name, files.checkpoint / name)
    files.steps.write_text("")
    files.timing.write_text("")
    files.completions.write_text("")
    files.facts.write_text(json.dumps(before, indent=1, sort_keys=True) + "\n")


def pack_checkpoint(folder: Path, checkpoint: Path) -> None:
    """The trainer's checkpoint as named files: the trained weights, and one archive with the rest of the state."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    for name in trained_files(folder):
        shutil.copyfile(folder / name, checkpoint / name)
    with tarfile.open(checkpoint / "trainer_state.tar", "w") as archive:
        for path in sorted(folder.iterdir()):
            if path.name in STATE_FILES or path.name.startswith("rng_state_"):
                archive.add(path, path.name, filter=_without_owner)


def check_checkpoint(folder: Path) -> None:
    """Check that a checkpoint is whole, before a slow step reads it.

    Raises:
        DamagedFile: a file of it is not.
    """
    check_trained(folder)
    state = folder / "trainer_state.tar"
    try:
        with tarfile.open(state) as archive:
            names = archive.getnames()
    except tarfile.TarError as error:
        raise DamagedFile(state, error) from None
    if missing := [name for name in ALWAYS_SAVED if name not in names]:
        raise DamagedFile(state, f"{missing[0]} is missing")


def unpack_checkpoint(checkpoint: Path, scratch: Path, step: int) -> Path:
    """The checkpoint in the trainer's own layout."""
    folder = scratch / f"checkpoint-{step}"
    with PartialState().main_process_first():
        if not folder.exists():
            folder.mkdir()
            for name in trained_files(checkpoint):
                shutil.copyfile(checkpoint / name, folder / name)
            with tarfile.open(checkpoint / "trainer_state.tar") as archive:
                for member in archive:  # `extractall` knows no safe filter before Python 3.11.4
                    with archive.extractfile(member) as source, open(folder / member.name, "wb") as target:
                        shutil.copyfileobj(source, target)
    return folder


def _without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime = info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def steps_before(unpacked: Path | None, files: SegmentFiles, start: int) -> list[dict[str, Any]]:
    """The rows of a run's steps up to `start`, from its unpacked checkpoint; none before the first segment.

    Raises:
        DamagedFile: they are not whole.
    """
    if not unpacked:
        return []
    try:
        return read_steps(unpacked / "steps.jsonl", SCHEMA_VERSION, STEP, range(1, start + 1))
    except (DamagedFile, FileNotFoundError) as error:
        raise DamagedFile(files.previous / "trainer_state.tar", error) from None
