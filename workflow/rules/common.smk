import atexit
import gc
import json
import os
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(ROOT / "workflow"))

from arc_precision.config.base import as_words
from arc_precision.config.experiment import load_experiment
from arc_precision.config.report import declared
from arc_precision.config.yaml_file import read_config
from arc_precision.contracts import layout
from arc_precision.model.check import check_model
from arc_precision.model.folder import tokenizer_files, weight_files
from arc_precision.old_results import OldResults, going_on
from arc_precision.plan import checkpoints, inputs, source_paths, starting, together
from arc_precision.prompt_files import prompt_file
from arc_precision.disk import check_folder, check_results, tidy
from arc_precision.staleness import dependencies
from arc_precision.tasks.source_files import source_files


@cache
def files_of_source(name):
    """The files whose content decides a source's tasks."""
    return source_files(SOURCES[name])


# Of the working directory (snakemake --directory FOLDER) or else of this clone.
CONFIG = "config.yaml" if Path("config.yaml").exists() else f"{ROOT}/config.yaml"


# Faults of the configuration stop here, before any job, each in one sentence.
try:
    # Snakemake takes the last of two equal keys, and names no line.
    for path in [CONFIG, *workflow.overwrite_configfiles]:
        read_config(path)
except ValueError as error:
    raise WorkflowError(str(error)) from None


configfile: CONFIG


try:
    experiment = load_experiment(config)
    check_folder(Path("results") / experiment.experiment)
    STACK = "gpu" if experiment.device == "cuda" else "cpu"
    REQUIREMENTS = ROOT / "envs" / f"requirements-{STACK}.txt"
    MODEL, MODEL_ON_HUB = source_paths.model(experiment.model.path, ROOT)
    MODEL_FILES = weight_files(MODEL)
    TOKENIZER_FILES = tokenizer_files(MODEL)
    check_model(experiment, MODEL_FILES, REQUIREMENTS)
    PROMPT = prompt_file(experiment.model.prompt, ROOT)
    SOURCES = {
        name: source_paths.located(source, ROOT)
        for name, source in experiment.sources.items()
    }
    for name in experiment.used_sources:
        files_of_source(name)
        source_paths.check_answered(name, SOURCES[name])
    WARM_START_SOURCE = source_paths.located(experiment.warm_start.solved_source, ROOT)
    WARM_START_FILES = source_files(WARM_START_SOURCE)
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
GROUPS = together.planned(
    experiment, Path(RESULTS), not workflow.is_main_process or going_on()
)
SEEDS_JOBS = together.seeds_jobs(GROUPS)
# A rule of several seeds has arm and seeds in its name. What profiles say of `train` is meant for all of them.
SEEDS_RULES = [
    job.rule(kind)
    for kind in ("train", "sample", "audit_draw", "audit_trainer", "audit_sampler")
    for job in [together.BASE_JOB, *SEEDS_JOBS]
]
for told in ("overwrite_threads", "overwrite_resources"):
    given = getattr(workflow.resource_settings, told)
    setattr(workflow.resource_settings, told, together.with_rules(given, SEEDS_RULES))

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
        for name in (
            *("arm", "seed", "run", "step", "stop", "set", "dtype", "head", "adapter"),
        )
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


def prompt_digest():
    """The template's content, in place of its name."""
    return HASHES.of(PROMPT)


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
    return as_words(
        slice.model_copy(update={"sources": digests, "prompt": prompt_digest()})
    )


def evaluation_set_slice(wildcards):
    slice = experiment.evaluation_set_slice(wildcards.set)
    source = digested(experiment.evaluation_sets[wildcards.set].source)
    return as_words(
        slice.model_copy(update={"source": source, "prompt": prompt_digest()})
    )


def evaluation_set_paths(wildcards):
    source = experiment.evaluation_sets[wildcards.set].source
    return source_paths.paths_json(SOURCES, [source])


@cache
def arm_slice(arm):
    return as_words(experiment.train_slice(arm))


def warm_start_slice():
    slice = experiment.warm_start_slice()
    slice = slice.model_copy(update={"prompt": prompt_digest()})
    if not WARM_START_FILES:
        return as_words(slice)
    source = source_paths.digested(WARM_START_SOURCE, WARM_START_FILES, HASHES)
    return as_words(slice.with_path(source.path))


def warm_start_trial_slice():
    slice = experiment.warm_start_trial_slice()
    return as_words(slice.model_copy(update={"prompt": prompt_digest()}))


def warm_started(wildcards):
    weights = layout.WARM_STARTED.path(name="model.safetensors")
    return in_results([weights]) if wildcards.when == "after" else []


def tried_model(wildcards, input):
    return os.path.dirname(input[0]) if input else str(MODEL)


def previous_segment(job):
    """The input function of a job's segments: what they go on from."""
    return lambda wildcards: in_results(
        inputs.previous_segment(experiment, job, int(wildcards.stop))
    )


def trained(job):
    """The input function of what reads the checkpoints of a job's seeds."""
    return lambda wildcards: in_results(
        inputs.trained_files(experiment, job, wildcards.step)
    )


def trained_outputs(job):
    """Outputs of a job's seeds with what was trained, by name."""
    kinds = inputs.trained_kinds(experiment, job.arm)
    return {name: of_seeds(job, kind) for name, kind in kinds.items()}


def of_seeds(job, pattern):
    """Outputs of a job's seeds."""
    return [f"<results>/{path}" for path in job.paths(pattern)]


@cache
def samples_slice(arm, name, dtype):
    return as_words(experiment.sample_slice(arm, name, dtype))


def sample_slice(job):
    arm = job.arm if job.seeds else None
    return lambda wildcards: samples_slice(arm, wildcards.set, wildcards.dtype)


def submission_slice(wildcards):
    slice = experiment.submission_slice(wildcards.set)
    source = digested(slice.source_name)
    return as_words(slice.model_copy(update={"source": source}))


def audit_scored(wildcards):
    return in_results(inputs.audit_scored(experiment, wildcards.run, wildcards.step))


def audit_trainer_slice(job):
    return lambda wildcards: as_words(
        experiment.audit_trainer_slice(job.arm, wildcards.dtype, wildcards.head)
    )


def audit_sampler_slice(job):
    return lambda wildcards: as_words(
        experiment.audit_sampler_slice(
            job.arm, wildcards.dtype, wildcards.head, wildcards.adapter
        )
    )


def audit_join_slice(wildcards):
    return as_words(experiment.audit_join_slice(checkpoints.arm_of(wildcards.run)))
