import atexit
import gc
import json
import os
import shlex
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(ROOT / "workflow"))

from arc_precision.config.base import as_words
from arc_precision.config.experiment import load_experiment
from arc_precision.config.report import declared
from arc_precision.config.yaml_file import read_config
from arc_precision.contracts import layout
from arc_precision.disk import check_folder, check_results, tidy
from arc_precision.model.check import check_model
from arc_precision.old_results import OldResults, going_on
from arc_precision.plan import checkpoints, inputs, seed_groups, slices, starting
from arc_precision.plan.outside_files import OutsideFiles
from arc_precision.staleness.dependencies import Hashes, SourceCode

# The configuration of the working directory (snakemake --directory FOLDER) comes first, then that of this clone.
CONFIG = "config.yaml" if Path("config.yaml").exists() else f"{ROOT}/config.yaml"


@contextmanager
def faults_in_one_sentence():
    """Faults of configuration, model and results stop Snakemake before any job, without a traceback."""
    try:
        yield
    except ValueError as error:
        raise WorkflowError(str(error)) from None


with faults_in_one_sentence():
    # Snakemake takes the last of two equal keys, and names no line.
    for path in [CONFIG, *workflow.overwrite_configfiles]:
        read_config(path)


configfile: CONFIG


with faults_in_one_sentence():
    experiment = load_experiment(config)
    RESULTS = f"results/{experiment.experiment}"
    check_folder(Path(RESULTS))
    STACK = "gpu" if experiment.device == "cuda" else "cpu"
    REQUIREMENTS = ROOT / "envs" / f"requirements-{STACK}.txt"
    # Digests of big files are remembered from one start to the next.
    hashes = Hashes(Path(".snakemake/arc-precision/sha256.json"))
    outside = OutsideFiles(experiment, ROOT, hashes)
    check_model(experiment, outside.weights, REQUIREMENTS)

ENVIRONMENT = str(ROOT / "envs" / f"{STACK}.yaml")
SOURCE_CODE = SourceCode(
    ROOT / "workflow/arc_precision", Path(".snakemake/arc-precision/imports.json")
)

# Planning must see the old results that a failed or interrupted run was replacing.
OLD_RESULTS = OldResults(Path(RESULTS))
if workflow.is_main_process:
    OLD_RESULTS.put_back_all()
with faults_in_one_sentence():
    GROUPS = seed_groups.planned(
        experiment, Path(RESULTS), not workflow.is_main_process or going_on()
    )
SEEDS_JOBS = seed_groups.seeds_jobs(GROUPS)
# A rule of several seeds has arm and seeds in its name. An entry of a profile for `train` counts for all of them.
for told in ("overwrite_threads", "overwrite_resources"):
    given = getattr(workflow.resource_settings, told)
    of_rules = seed_groups.with_rules(given, seed_groups.seeds_rules(SEEDS_JOBS))
    setattr(workflow.resource_settings, told, of_rules)

# All objects of a plan live until its end: searching them for garbage takes time and frees nothing, at exit too.
gc.set_threshold(1_000_000, 50, 100)
atexit.register(gc.freeze)

# Commands find scripts and the library through the environment, because a command is part of staleness: with the
# folder of the clone in it, a clone that moves would run everything again.
WORKFLOW = shlex.quote(str(ROOT / "workflow")).replace("{", "{{").replace("}", "}}")
# At every start libraries give warnings that only their authors can act on.
QUIET = "TORCH_CPP_LOG_LEVEL=ERROR TRL_EXPERIMENTAL_SILENCE=1 PYTHONWARNINGS=ignore::FutureWarning:vllm.triton_utils.dispatcher"

shell.prefix(
    f"set -euo pipefail; export WORKFLOW={WORKFLOW} {QUIET}; "
    'export PYTHONPATH="$WORKFLOW${{PYTHONPATH:+:$PYTHONPATH}}"; '
)


pathvars:
    results=RESULTS,


wildcard_constraints:
    **layout.WILDCARDS,


def refuse_unusable_results():
    """Stop before the first job when results cannot be written, or too little disk is free."""
    with faults_in_one_sentence():
        check_results(Path(RESULTS), experiment.retention)


# `params` and inputs decide whether a job is stale: slices of the configuration, source files, versions, digests.
# Strings that a command needs but that must rerun nothing (where the model lies, how a script starts) travel as
# `resources`, the only part of a rule of which Snakemake keeps no record. A function of wildcards in a loop over jobs
# has its job as a default value, because Snakemake calls it after the loop.


def code(stage):
    """Source files of a stage, so that an edit reruns the stages that import them and no other."""
    return SOURCE_CODE.lines(ROOT / f"workflow/scripts/{stage}.py", ROOT)


def pins(stage):
    """Versions of the packages of a stage."""
    return SOURCE_CODE.pin_lines(ROOT / f"workflow/scripts/{stage}.py", REQUIREMENTS)


@cache
def sample_words(arm, name, dtype):
    """The slice of `sample`: the same for all checkpoints of an arm."""
    return as_words(experiment.sample_slice(arm, name, dtype))


def in_results(paths):
    """Paths of the layout in the folder of this experiment."""
    return [f"{RESULTS}/{path}" for path in paths]


def trained(job):
    """The input function of rules that read the checkpoints of a job's seeds."""
    return lambda wildcards: in_results(
        inputs.trained_files(experiment, job, wildcards.step)
    )


def of_seeds(job, pattern):
    """Outputs of a job's seeds."""
    return [f"<results>/{path}" for path in job.paths(pattern)]


def trained_outputs(job):
    """Outputs of a job's seeds with the trained weights, by name."""
    kinds = inputs.trained_kinds(experiment, job.arm)
    return {name: of_seeds(job, kind) for name, kind in kinds.items()}
