"""Disk: what an invocation needs before it starts, and what nothing needs any more when it has ended."""

import shutil
from pathlib import Path

from arc_precision.config.retention import RetentionConfig


def check_disk(folder: Path, retention: RetentionConfig) -> None:
    """Raise ValueError when too little disk is free where results go."""
    free_mb = shutil.disk_usage(folder).free // 2**20
    if free_mb < retention.min_free_disk_mb:
        raise ValueError(
            f"retention.min_free_disk_mb: {free_mb} MB are free, {retention.min_free_disk_mb} are wanted; free some, "
            "or write a smaller number"
        )


def check_folder(results: Path) -> None:
    """Raise ValueError where something that is no folder has the place of the results."""
    for folder in (*reversed(results.parents), results):
        if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
            raise ValueError(f"{folder}: no folder, and results go there; move it away")


def needless_states(results: Path) -> list[Path]:
    """Trainer states of all but the last checkpoint of each run. A run goes on from its last one alone."""
    needless = []
    for run in sorted(results.glob("runs/*/seed-*")):
        states = run.glob("checkpoint-*/trainer_state.tar")
        needless += sorted(states, key=_step)[:-1]
    return needless


def _step(state: Path) -> int:
    return int(state.parent.name.split("-")[1])


def tidy(results: Path, retention: RetentionConfig) -> list[Path]:
    """Remove what `retention` does not keep, and return it."""
    removed = needless_states(results) if retention.trainer_states == "last" else []
    for path in removed:
        path.unlink()
    return removed
