import atexit
import gc
import json
import os
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "workflow"))

from arc_precision.config.base import as_words
from arc_precision.config.experiment import load_experiment
from arc_precision.config.report import declared
from arc_precision.config.yaml_file import read_config
from arc_precision.contracts import layout
from arc_precision.model.check import check_model
from arc_precision.model.folder import tokenizer_files, weight_files
from arc_precision.old_results import OldResults
from arc_precision.plan import checkpoints, inputs, source_paths, starting
from arc_precision.disk import check_folder, check_results, tidy
from arc_precision.staleness import dependencies
from arc_precision.tasks.source_files import source_files


@cache
def files_of_source(name):
    """The files whose content decides a source's tasks."""
    return source_files(SOURCES[name])


# Faults of the configuration stop here, before any job, each in one sentence.
try:
    for path in [*workflow.configfiles, *workflow.overwrite_configfiles]:
        read_config(path)  # Snakemake has read it, and taken the last of two equal keys
    experiment = load_experiment(config)
    check_folder(Path("results") / experiment.experiment)
    STACK = "gpu" if experiment.device == "cuda" else "cpu"
    REQUIREMENTS = ROOT / "envs" / f"requirements-{STACK}.txt"
    MODEL = source_paths.found(experiment.model.path, ROOT)
    MODEL_FILES = weight_files(MODEL)
    TOKENIZER_FILES = tokenizer_files(MODEL)
    check_model(experiment, MODEL_FILES, REQUIREMENTS)
    SOURCES = {
        name: source_paths.located(source, ROOT)
        for name, source in experiment.sources.items()
    }
    for name in experiment.used_sources:
        files_of_source(name)
except ValueError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{experiment.experiment}"
ENVIRONMENT = str(ROOT / "envs" / f"{STACK}.yaml")
# Digests of files, from one start to the next.
HASHES = dependencies.Hashes(Path(".snakemake/arc-precision/sha256.json"))
SOURCE_CODE = dependencies.SourceCode(
    ROOT / "workflow/arc_precision", Path(".snakemake/arc-precision/imports.json")
)

# What a failed or interrupted run was making anew is put back before anything is planned.
OLD_RESULTS = OldResults(Path(RESULTS))
if workflow.is_main_process:
    OLD_RESULTS.put_back_all()

# All objects of a plan live until its end. To search thousands of jobs for garbage, or to take them apart at the end,
# takes time and frees nothing.
gc.set_threshold(1_000_000, 50, 100)
atexit.register(gc.freeze)

# Commands find scripts and the library through the environment, because a command is part of staleness: with the
# folder of the clone in it, a clone that moves would run everything again.
WORKFLOW = shlex.quote(str(ROOT / "workflow")).replace("{", "{{").replace("}", "}}")
# Libraries warn at every start of matters that only they can change.
QUIET = "TORCH_CPP_LOG_LEVEL=ERROR TRL_EXPERIMENTAL_SILENCE=1 PYTHONWARNINGS=ignore::FutureWarning:vllm.triton_utils.dispatcher"

shell.prefix(
    f"set -euo pipefail; export WORKFLOW={WORKFLOW} {QUIET}; "
    'export PYTHONPATH="$WORKFLOW${{PYTHONPATH:+:$PYTHONPATH}}"; '
)


pathvars:
    results=RESULTS,


wildcard_constraints:
    **{
        name: layout.WILDCARDS[name]
        for name in ("arm", "seed", "run", "step", "stop", "set", "dtype", "adapter")
    },


def refuse_unusable_results():
    """Stop before the first job when results cannot be written, or too little disk is free."""
    try:
        check_results(Path(RESULTS), experiment.retention)
    except ValueError as error:
        raise WorkflowError(str(error)) from None


@cache
def code_files(name):
    """The script of a stage and every module that it imports."""
    return SOURCE_CODE.files(ROOT / "workflow/scripts" / f"{name}.py")


def code(name):
    """The source files of a stage, so that an edit reruns the stages that import it and no other."""
    return SOURCE_CODE.lines(code_files(name), ROOT)


def pins(name):
    """Versions of the packages of a stage."""
    return SOURCE_CODE.pin_lines(code_files(name), REQUIREMENTS)


def digest_lines(files):
    """`name=SHA-256` of big files, hashed once."""
    return tuple(f"{name}={sha256}" for name, sha256 in HASHES.of_all(files).items())


def in_results(paths):
    """Paths of the layout in the folder of this experiment."""
    return [f"{RESULTS}/{path}" for path in paths]


def digested(name):
    """A source with a digest in place of its path."""
    return source_paths.digested(
        experiment.sources[name], files_of_source(name), HASHES
    )


# Slices of the configuration and inputs, by wildcards. `params` and inputs decide whether a job is stale. Strings that
# a command needs but that must rerun nothing (where the model lies, how a script starts) travel as `resources`,
# the only part of a rule of which Snakemake keeps no record.


def candidates_slice():
    slice = experiment.candidates_slice()
    digests = {name: digested(name) for name in slice.sources}
    return as_words(slice.model_copy(update={"sources": digests}))


def evaluation_set_slice(wildcards):
    slice = experiment.evaluation_set_slice(wildcards.set)
    source = digested(experiment.evaluation_sets[wildcards.set].source)
    return as_words(slice.model_copy(update={"source": source}))


def evaluation_set_paths(wildcards):
    source = experiment.evaluation_sets[wildcards.set].source
    return source_paths.paths_json(SOURCES, [source])


def arms_pattern(whole):
    """A pattern of the arms that train the whole model, or of those that train an adapter."""
    names = [
        re.escape(arm)
        for arm in experiment.arms
        if (experiment.training_of(arm).lora is None) == whole
    ]
    return "|".join(names) or "(?!)"  # which nothing matches


@cache
def arm_slice(arm):
    return as_words(experiment.train_slice(arm))


def train_slice(wildcards):
    return arm_slice(wildcards.arm)


def previous_segment(wildcards):
    stop = int(wildcards.stop)
    return in_results(
        inputs.previous_segment(experiment, wildcards.arm, wildcards.seed, stop)
    )


def train_gpus(wildcards):
    return starting.train_gpus(experiment, wildcards.arm)


def train_launcher(wildcards):
    return starting.train_launcher(experiment, wildcards.arm)


def trained(wildcards):
    return in_results(inputs.trained_files(experiment, wildcards.run, wildcards.step))


@cache
def samples_slice(arm, name, dtype):
    return as_words(experiment.sample_slice(arm, name, dtype))


def sample_slice(wildcards):
    arm = checkpoints.arm_of(wildcards.run)
    return samples_slice(arm, wildcards.set, wildcards.dtype)


def audit_scored(wildcards):
    return in_results(inputs.audit_scored(experiment, wildcards.run, wildcards.step))


def audit_draw_slice(wildcards):
    return as_words(experiment.audit_draw_slice(checkpoints.arm_of(wildcards.run)))


def audit_trainer_slice(wildcards):
    arm = checkpoints.arm_of(wildcards.run)
    return as_words(experiment.audit_trainer_slice(arm, wildcards.dtype))


def audit_sampler_slice(wildcards):
    arm = checkpoints.arm_of(wildcards.run)
    slice = experiment.audit_sampler_slice(arm, wildcards.dtype, wildcards.adapter)
    return as_words(slice)


def audit_join_slice(wildcards):
    return as_words(experiment.audit_join_slice(checkpoints.arm_of(wildcards.run)))
