"""The pipeline's jobs, seen through Snakemake's API: the jobs that would run now, and the reasons.

Snakemake 9.27 has no public way from its API to the jobs of a dry run; only `jobs` reaches into its internals.
"""

import ast
import base64
import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    DeploymentSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
    StorageSettings,
    WorkflowSettings,
)

from arc_precision.config.base import lay_over
from arc_precision.config.experiment import ExperimentConfig, load_experiment
from arc_precision.config.yaml_file import read_config
from arc_precision.contracts.layout import kind_of

MAX_CHECKSUM_FILE_SIZE = 100_000_000  # as in profiles/default


@dataclass(frozen=True)
class PlannedJob:
    """A job of the plan."""

    rule: str  # the rule's name without arm and seeds
    wildcards: Mapping[str, str]
    output: tuple[str, ...]
    stale: bool
    reasons: tuple[str, ...]  # causes of staleness, a sentence each; empty if the job is fresh, or only follows others
    follows: tuple[str, ...]  # causes of the jobs before it


def jobs(
    root: Path, configfiles: Sequence[Path] = (), config: Mapping[str, Any] | None = None, touch: bool = False
) -> list[PlannedJob]:
    """All jobs of the plan for the pipeline in `root`.

    Args:
        configfiles: experiments laid over config.yaml.
        config: keys laid over those.
        touch: instead of planning, record every existing output as made with the present settings.

    Raises:
        ValueError: the configuration is not valid, or no plan can be made with it.
    """
    try:
        return _jobs(root, configfiles, config, touch)
    except WorkflowError as error:
        raise ValueError(str(error)) from None


def _jobs(root: Path, configfiles: Sequence[Path], config: Mapping[str, Any] | None, touch: bool) -> list[PlannedJob]:
    # Snakemake logs through handlers of its own, which are quiet here.
    logging.getLogger("snakemake.logging").propagate = False
    with contextlib.chdir(root), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=not touch, show_failed_logs=False)) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=2),
                config_settings=ConfigSettings(
                    config=dict(config or {}), configfiles=[Path("config.yaml"), *map(Path, configfiles)]
                ),
                storage_settings=StorageSettings(),
                workflow_settings=WorkflowSettings(),
                deployment_settings=DeploymentSettings(),
                snakefile=Path("Snakefile"),
            )
            plan = workflow.dag(
                DAGSettings(forceall=touch, force_incomplete=True, max_checksum_file_size=MAX_CHECKSUM_FILE_SIZE)
            )
            if touch:
                plan.execute_workflow(executor="touch")
            else:
                plan.printrulegraph()  # builds the plan and runs nothing
            dag = workflow._workflow.dag
            persistence = workflow._workflow.persistence
            stale = set(dag.needrun_jobs())
            return [
                PlannedJob(
                    kind_of(job.rule.name),
                    dict(job.wildcards),
                    tuple(map(str, job.output)),
                    job in stale,
                    tuple(_reasons(dag.reason(job), job, persistence)) if job in stale else (),
                    tuple(_follows(dag.reason(job))) if job in stale else (),
                )
                for job in dag.jobs
            ]


def experiment_of(root: Path, configfiles: Sequence[Path] = ()) -> ExperimentConfig:
    """The configuration that `jobs` plans with.

    Raises:
        ValueError: a file is not valid, or the files together are not.
    """
    config: dict[str, Any] = {}
    for path in (root / "config.yaml", *configfiles):
        config = lay_over(config, read_config(path))
    return load_experiment(config)


def running_outputs(root: Path) -> set[str]:
    """Outputs that Snakemake has marked as being written, by jobs that run now or were killed."""
    marks = root / ".snakemake" / "incomplete"
    return {base64.b64decode(mark.name).decode() for mark in marks.iterdir()} if marks.is_dir() else set()


def _reasons(reason: Any, job: Any, persistence: Any) -> list[str]:
    causes: list[str] = []
    if reason.params_changed:
        for output in job.output[:1]:
            before, now = _lines(persistence.params(output) or []), _lines(persistence._params(job))
            causes += changed_lines(before, now)
    if reason.incomplete_output:
        causes.append(f"{min(map(str, reason.incomplete_output))} was not finished")
    if reason.updated_input:
        causes.append(f"{', '.join(sorted(map(str, reason.updated_input)))} changed")
    if reason.code_changed:
        causes.append("the rule's command changed")
    # With another cause, missing files need not be a cause: they may have been removed because nothing needed them.
    return causes if causes or reason.updated_input_run else list(_changed_files(reason))


def _follows(reason: Any) -> Iterator[str]:
    if reason.updated_input_run:
        yield f"{min(map(str, reason.updated_input_run))} will be made anew"
        yield from _changed_files(reason)


def _changed_files(reason: Any) -> Iterator[str]:
    if reason.missing_output:
        yield f"{min(map(str, reason.missing_output))} is not there yet"
    if reason.input_changed:
        yield "it has other inputs than before"


def _lines(params: Sequence[str]) -> set[str]:
    """The `key=value` lines of recorded params: each is the representation of several lines."""
    lines: set[str] = set()
    for text in params:
        value = ast.literal_eval(text)
        lines.update([value] if isinstance(value, str) else value)
    return lines


def changed_lines(before: set[str], now: set[str]) -> Iterator[str]:
    """A sentence per key whose value differs, from two sets of `key=value` lines."""
    old, new = (dict(line.split("=", 1) for line in lines) for lines in (before - now, now - before))
    for key in sorted(old.keys() | new.keys()):
        if "/" in key or key == "needed packages":
            what = "edited" if key in old and key in new else ("no longer imported" if key in old else "newly imported")
            yield f"{key} {'changed' if key == 'needed packages' else what}"
        elif key not in old:
            yield f"{key.rstrip('=')} is new: {new[key].lstrip('=')}"
        elif key not in new:
            yield f"{key.rstrip('=')} is gone, it was {old[key].lstrip('=')}"
        else:
            yield f"{key.rstrip('=')} was {old[key].lstrip('=')} and is now {new[key].lstrip('=')}"
