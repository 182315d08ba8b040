"""Files that an experiment reads from outside its results: where they lie, and their content as a digest."""

import json
from collections.abc import Iterable
from pathlib import Path

from arc_precision.config.data import Source
from arc_precision.staleness.dependencies import Hashes, digest


def found(path: str, base: Path) -> Path:
    """A path of the configuration: relative to the working directory or else, where nothing is there, to `base`."""
    return base / path if not Path(path).exists() and (base / path).exists() else Path(path)


def located(source: Source, base: Path) -> Source:
    """A source with the path of its files as `found` has it."""
    return source.model_copy(update={"path": str(found(source.path, base))}) if hasattr(source, "path") else source


def digested(source: Source, files: list[Path], hashes: Hashes) -> Source:
    """A source with the digest of its files in place of their path: moving a file changes nothing."""
    return source.model_copy(update={"path": digest(hashes.of_all(files))}) if files else source


def paths_json(sources: dict[str, Source], names: Iterable[str]) -> str:
    """Where the files of the named sources lie, as JSON. Sources that come with the workflow have none."""
    return json.dumps({name: sources[name].path for name in names if hasattr(sources[name], "path")}, sort_keys=True)
