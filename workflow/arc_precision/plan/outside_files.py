"""Files that an experiment reads from outside its results: their paths, and digests of their content."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from arc_precision.config.data import Source
from arc_precision.config.experiment import ExperimentConfig
from arc_precision.model import hub
from arc_precision.model.folder import tokenizer_files, weight_files
from arc_precision.prompt_files import prompt_file
from arc_precision.staleness.dependencies import Hashes, digest
from arc_precision.tasks.source_files import solutions_name, source_files, unanswered_file


def found(path: str, base: Path) -> Path:
    """A path of the configuration: relative to the working directory or, if nothing lies there, to `base`."""
    return base / path if not os.path.exists(path) and os.path.exists(base / path) else Path(path)


class OutsideFiles:
    """The model, the prompt and the sources of an experiment.

    Attributes:
        model: the model's folder.
        on_hub: `ORG/NAME@COMMIT` where `model.path` is an id on the Hub.
        weights: files of the model, those of its tokenizer left out.
        tokenizer: files of the model's tokenizer.
        prompt: the template.
    """

    def __init__(self, experiment: ExperimentConfig, base: Path, hashes: Hashes) -> None:
        """Find the files of an experiment.

        Args:
            base: the clone, for paths of the configuration that lead nowhere from the working directory.

        Raises:
            ValueError: a file is not there or is not what it should be, the model is on the Hub and cannot be
                downloaded, or a source that is trained, evaluated or audited on has tasks without answers.
        """
        self._base, self._hashes = base, hashes
        self.model, self.on_hub = found(experiment.model.path, base), None
        if hub.is_id(experiment.model.path) and not os.path.exists(self.model):  # a path can be too long to ask for
            self.model, self.on_hub = hub.snapshot(experiment.model.path)
        self.weights, self.tokenizer = weight_files(self.model), tokenizer_files(self.model)
        self.prompt = prompt_file(experiment.model.prompt, base)
        self._sources = experiment.sources
        for name in experiment.used_sources:
            self._check(name)
        self.files_of(experiment.warm_start.solved_source)

    def located(self, source: Source) -> Source:
        """A source with the path of its files as `found` has it."""
        if not hasattr(source, "path"):
            return source
        return source.model_copy(update={"path": str(found(source.path, self._base))})

    def files_of(self, source: Source) -> list[Path]:
        """The files whose content decides the tasks of a source.

        Raises:
            ValueError: as `tasks.source_files.source_files`.
        """
        return source_files(self.located(source))

    def paths_json(self, names: Iterable[str]) -> str:
        """Where the files of the named sources lie, as JSON. Sources that come with the workflow have none."""
        sources = {name: self.located(self._sources[name]) for name in names}
        return json.dumps(
            {name: source.path for name, source in sources.items() if hasattr(source, "path")}, sort_keys=True
        )

    def digested(self, source: Source) -> Source:
        """A source with the digest of its files in place of their path: moving a file changes nothing."""
        files = self.files_of(source)
        return source.model_copy(update={"path": digest(self._hashes.of_all(files))}) if files else source

    def prompt_digest(self) -> str:
        """SHA-256 of the template, which stands in slices in place of its name."""
        return self._hashes.of(self.prompt)

    def digest_lines(self, files: Iterable[Path]) -> tuple[str, ...]:
        """`name=SHA-256` of files, of big ones too: each is read once."""
        return tuple(f"{name}={sha256}" for name, sha256 in self._hashes.of_all(files).items())

    def _check(self, name: str) -> None:
        self.files_of(self._sources[name])
        if file := unanswered_file(self.located(self._sources[name])):
            raise ValueError(
                f"sources.{name}: {file} has no {solutions_name(file)} beside it, and tasks without answers can be "
                "sampled but not scored; put it there, or remove the source from data.train_on, and its sets from "
                "evaluate_on and audit.set"
            )
