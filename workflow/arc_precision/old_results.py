"""Old results stay until new ones replace them, even if a job fails or is killed.

Snakemake removes the outputs of a job before the job starts, and after a failure it records them as made with the new
settings. So before the first job of a run, the outputs that will be replaced are kept as hard links in a folder of
their own, with Snakemake's records of them; hard links take no disk while the outputs exist. The outputs of failed jobs
are put back when the run ends. Those of interrupted jobs are put back when Snakemake starts again: until then a process
may still write.

Content, modification time and record are put back, so Snakemake recognises old results as made with the old settings.
Not covered: logs and benchmarks.
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snakemake.persistence import MetadataRecord, PersistenceBase
from snakemake.persistence.file import FilePersistence

INDEX = "jobs.json"


class OldResults:
    """The outputs below `results` that a run of Snakemake replaces. Paths are relative to the working directory."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._folder = results / ".kept"
        self._index = self._folder / INDEX

    def keep(self, jobs: Iterable[Any], records: PersistenceBase) -> None:
        """Keep the old outputs of `jobs`, Snakemake's jobs to run. Outputs that an interrupted job left are no
        results."""
        self._put_back_unfinished(records)  # nothing is left here unless locks are ignored
        kept = []
        for job in jobs:
            outputs = [str(output) for output in job.output]
            there = [path for path in outputs if os.path.lexists(path)]
            if there and not records._filter_incomplete_keys(outputs):
                for path in there:
                    self._link(Path(path))
                kept.append({path: _record(records, path) if path in there else None for path in outputs})
        if kept:
            self._write(kept)

    def put_back_failed(self, records: PersistenceBase) -> None:
        """After a run: put back the old outputs of failed jobs, and continue to keep those of interrupted jobs."""
        jobs = self._jobs()
        unfinished = records._filter_incomplete_keys([path for job in jobs for path in job])
        interrupted = [job for job in jobs if not unfinished.isdisjoint(job)]
        for job in jobs:
            if job not in interrupted and _lost(job):
                self._put_back(job, records)
        if interrupted:
            self._write(interrupted)
        else:
            self.forget()

    def put_back_all(self) -> None:
        """Before a run: put back the old outputs of failed and interrupted jobs, unless another run is going on."""
        if not self._index.exists() or going_on():
            return
        self._put_back_unfinished(FilePersistence())

    def forget(self) -> None:
        """After a success: the new results replace the old ones."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _jobs(self) -> list[dict[str, dict[str, Any] | None]]:
        """The outputs of each job. An output that existed has Snakemake's record, empty if there was none."""
        return json.loads(self._index.read_text()) if self._index.exists() else []

    def _write(self, jobs: list[dict[str, dict[str, Any] | None]]) -> None:
        new = self._index.with_suffix(".new")
        new.write_text(json.dumps(jobs))
        new.replace(self._index)

    def _place(self, path: Path) -> Path:
        return self._folder / path.relative_to(self._results)

    def _link(self, path: Path) -> None:
        place = self._place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, place, copy_function=_link_or_copy)
        else:
            _link_or_copy(path, place)

    def _put_back_unfinished(self, records: PersistenceBase) -> None:
        jobs = self._jobs()
        unfinished = records._filter_incomplete_keys([path for job in jobs for path in job])
        for job in jobs:
            if not unfinished.isdisjoint(job) or _lost(job):
                self._put_back(job, records)
        self.forget()

    def _put_back(self, job: dict[str, dict[str, Any] | None], records: PersistenceBase) -> None:
        """Put outputs back so that an interruption can be repaired by a repetition: the mark of an unfinished job goes
        last."""
        for path, record in job.items():
            records._delete_record(path)
            if record:
                records._write_record(path, MetadataRecord.model_validate(record))
        for path, record in job.items():
            place = self._place(Path(path))
            if record is None or place.exists():
                _remove(Path(path))
            if place.exists():
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                place.rename(path)
        for path in job:
            records._unmark_incomplete(path)
        records._clear_cache()


def going_on() -> bool:
    """Whether a run of Snakemake holds the working directory."""
    return any(Path(".snakemake/locks").glob("*.lock"))


def _lost(job: dict[str, dict[str, Any] | None]) -> bool:
    """Whether an output that existed is gone."""
    return any(record is not None and not os.path.lexists(path) for path, record in job.items())


def _record(records: PersistenceBase, path: str) -> dict[str, Any]:
    record = records._read_record(path)
    return dict(record.items()) if record else {}


def _link_or_copy(source: Any, target: Any) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # the file system has no hard links, or the folder lies on another one
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
