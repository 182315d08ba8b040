"""Disk: the check before an invocation starts, and the removal of files that are not kept after its end."""

import logging
import shutil
import tempfile
from pathlib import Path

from arc_precision.config.retention import RetentionConfig
from arc_precision.contracts import layout


def check_results(results: Path, retention: RetentionConfig) -> None:
    """Whether jobs can write results.

    Raises:
        ValueError: their folder cannot be written, or too little disk is free there.
    """
    there = next(folder for folder in (results, *results.parents) if folder.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise ValueError(
            f"{there}: results cannot be written here ({error.strerror}); make the folder writable, or run in another "
            "with snakemake --directory FOLDER"
        ) from None
    free_mb = shutil.disk_usage(there).free // 2**20
    if free_mb < retention.min_free_disk_mb:
        raise ValueError(
            f"retention.min_free_disk_mb: {free_mb} MB are free, {retention.min_free_disk_mb} are wanted; free some, "
            "or write a smaller number"
        )


def check_folder(results: Path) -> None:
    """Raise ValueError if the path of the results is no folder, or if a disk is full: Snakemake cannot even plan
    then."""
    for folder in (*reversed(results.parents), results):
        if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
            raise ValueError(f"{folder}: no folder, and results go there; move it away")
        if folder.exists() and shutil.disk_usage(folder).free < 2**20:
            logging.raiseExceptions = False  # Snakemake's log may lie on that disk
            raise ValueError(
                f"{folder.absolute()}: the disk is full; free some, or run in another folder with "
                "snakemake --directory FOLDER"
            )


def all_but_last(results: Path, kind: layout.Pattern) -> list[Path]:
    """The files of a kind of all but the last checkpoint of each run. A run continues from its last one alone."""
    of_run: dict[tuple[str, str], list[Path]] = {}
    for path, values in kind.find(results):
        of_run.setdefault((values["arm"], values["seed"]), []).append(path)
    return [path for paths in of_run.values() for path in paths[:-1]]


def tidy(results: Path, retention: RetentionConfig) -> list[Path]:
    """Remove the files that `retention` does not keep, and return their paths."""
    kept = {layout.STATE: retention.trainer_states, layout.WEIGHTS: retention.weights}
    removed = [path for kind, which in kept.items() if which == "last" for path in all_but_last(results, kind)]
    for path in removed:
        path.unlink()
    return removed
