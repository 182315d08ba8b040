"""Files that an experiment reads from outside its results: where they lie, and their content as a digest."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from arc_precision.config.data import Source
from arc_precision.model import hub
from arc_precision.staleness.dependencies import Hashes, digest
from arc_precision.tasks.source_files import solutions_name, unanswered_file


def found(path: str, base: Path) -> Path:
    """A path of the configuration: relative to the working directory or else, where nothing is there, to `base`."""
    return base / path if not os.path.exists(path) and os.path.exists(base / path) else Path(path)


def model(path: str, base: Path) -> tuple[Path, str | None]:
    """The folder of `model.path`, and `ORG/NAME@COMMIT` where it is an id on the Hub.

    Raises:
        ValueError: it is an id, and the model is not in the cache and cannot be downloaded.
    """
    folder = found(path, base)
    return hub.snapshot(path) if hub.is_id(path) and not os.path.exists(folder) else (folder, None)


def located(source: Source, base: Path) -> Source:
    """A source with the path of its files as `found` has it."""
    return source.model_copy(update={"path": str(found(source.path, base))}) if hasattr(source, "path") else source


def check_answered(name: str, source: Source) -> None:
    """Refuse a source that is trained, evaluated or audited on and has tasks without answers.

    Raises:
        ValueError: a file of challenges lies there without its solutions.
    """
    if file := unanswered_file(source):
        raise ValueError(
            f"sources.{name}: {file} has no {solutions_name(file)} beside it, and tasks without answers can be sampled "
            "but not scored; put it there, or remove the source from data.train_on, and its sets from evaluate_on and "
            "audit.set"
        )


def digested(source: Source, files: list[Path], hashes: Hashes) -> Source:
    """A source with the digest of its files in place of their path: moving a file changes nothing."""
    return source.model_copy(update={"path": digest(hashes.of_all(files))}) if files else source


def paths_json(sources: dict[str, Source], names: Iterable[str]) -> str:
    """Where the files of the named sources lie, as JSON. Sources that come with the workflow have none."""
    return json.dumps({name: sources[name].path for name in names if hasattr(sources[name], "path")}, sort_keys=True)
