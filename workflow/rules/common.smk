import atexit
import gc
import json
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "workflow"))

from arc_precision.config.audit import audit_engines
from arc_precision.config.base import settings
from arc_precision.config.experiment import ConfigError, load_experiment
from arc_precision.config.report import declared
from arc_precision.config.yaml_file import read_config
from arc_precision.model.check import check_model
from arc_precision.model.files import weight_files, tokenizer_files
from arc_precision.old_results import OldResults
from arc_precision.staleness import dependencies
from arc_precision.retention import check_disk, check_folder, tidy
from arc_precision.tasks.sources import source_files


@cache
def files_of_source(name):
    """The files whose content decides a source's tasks."""
    return source_files(experiment.sources[name])


# Faults of the configuration stop here, before any job, each in one sentence.
try:
    for path in [*workflow.configfiles, *workflow.overwrite_configfiles]:
        read_config(path)  # Snakemake has read it, and taken the last of two equal keys
    experiment = load_experiment(config)
    check_folder(Path("results") / experiment.experiment)
    STACK = "gpu" if experiment.device == "cuda" else "cpu"
    REQUIREMENTS = ROOT / "envs" / f"requirements-{STACK}.txt"
    MODEL_FILES = weight_files(Path(experiment.model.path))
    TOKENIZER_FILES = tokenizer_files(Path(experiment.model.path))
    check_model(experiment, MODEL_FILES, REQUIREMENTS)
    for name in experiment.used_sources:
        files_of_source(name)
except (ConfigError, ValueError) as error:
    raise WorkflowError(str(error)) from None

SCRIPTS = ROOT / "workflow" / "scripts"
LIBRARY = ROOT / "workflow" / "arc_precision"
RESULTS = f"results/{experiment.experiment}"
ENVIRONMENT = str(ROOT / "envs" / f"{STACK}.yaml")
# What is known of files by their content, from one start to the next.
HASHES = dependencies.Hashes(Path(".snakemake/arc-precision/sha256.json"))
SOURCE_CODE = dependencies.SourceCode(
    LIBRARY, Path(".snakemake/arc-precision/imports.json")
)

# What a failed or interrupted run was making anew is put back before anything is planned.
OLD_RESULTS = OldResults(Path(RESULTS))
if workflow.is_main_process:
    OLD_RESULTS.put_back_all()

# A plan of thousands of jobs is live objects throughout; looking through them for garbage again and again takes time.
gc.set_threshold(1_000_000, 50, 100)
# Nor need they be taken apart one by one when the program ends.
atexit.register(gc.freeze)

# Libraries warn at every start of matters that only they can change.
QUIET = "TORCH_CPP_LOG_LEVEL=ERROR TRL_EXPERIMENTAL_SILENCE=1 PYTHONWARNINGS=ignore::FutureWarning:vllm.triton_utils.dispatcher"
LIBRARY_PATH = f"PYTHONPATH={ROOT / 'workflow'}${{{{PYTHONPATH:+:$PYTHONPATH}}}}"

shell.prefix(f"set -euo pipefail; export {LIBRARY_PATH} {QUIET}; ")


pathvars:
    results=RESULTS,


wildcard_constraints:
    arm=r"[A-Za-z0-9._-]+",
    seed=r"\d+",
    run=r"base|[A-Za-z0-9._-]+/seed-\d+",
    step=r"\d+",
    stop=r"\d+",
    set=r"[A-Za-z0-9_-]+",
    dtype="float32|float16|bfloat16",
    adapter="applied|merged",


def refuse_full_disk():
    """Stop before the first job when too little disk is free."""
    try:
        check_disk(Path("."), experiment.retention)
    except ValueError as error:
        raise WorkflowError(str(error)) from None


@cache
def code_files(name):
    """The script of a stage and every module that it imports."""
    return SOURCE_CODE.files(SCRIPTS / f"{name}.py")


def code(name):
    """The source files of a stage, so that an edit reruns the stages that import it and no other."""
    return SOURCE_CODE.lines(code_files(name), ROOT)


def pins(name):
    """Versions of the packages of a stage."""
    return SOURCE_CODE.pin_lines(code_files(name), REQUIREMENTS)


def digest_lines(files):
    """`name=SHA-256` of big files, hashed once."""
    return tuple(f"{name}={sha256}" for name, sha256 in HASHES.of_all(files).items())


def gpus(kind):
    """GPUs that a kind of job asks for: none in the CPU environment."""
    return kind.gpu if experiment.device == "cuda" else 0


def engine_memory(kind):
    """What vLLM takes of a GPU, for the command line of its script."""
    flags = f"--gpu-memory-percent {kind.gpu_memory_percent}"
    return flags + (f" --kv-cache-mb {kind.kv_cache_mb}" if kind.kv_cache_mb else "")


def launcher(kind, n_gpus=None):
    """How a script is started: on as many GPUs of its machine, those that its kind asks for unless said otherwise."""
    n_gpus = gpus(kind) if n_gpus is None else n_gpus
    # Where what vLLM caches is bounded, others may be on the same GPU.
    company = "shared" if kind.kv_cache_mb else "alone"
    return (
        f"python workflow/scripts/on_gpus.py {n_gpus} {company} python"
        if n_gpus
        else "python"
    )


def segment_start(wildcards):
    """First step of the segment that ends at `stop`."""
    return int(wildcards.stop) - experiment.training_of(wildcards.arm).segment_steps


def arm_of(run):
    """Arm of a run's folder name; None for the base model."""
    return None if run == "base" else run.split("/")[0]


def runs():
    """Folder names of all selected runs."""
    return [
        f"{arm}/seed-{seed}" for arm in experiment.run_arms for seed in experiment.seeds
    ]


def checkpoint_files(run, step):
    """The adapter of a run at a step; nothing for the base model."""
    folder = f"{RESULTS}/runs/{run}/checkpoint-{step}"
    return (
        []
        if run == "base"
        else [f"{folder}/adapter_model.safetensors", f"{folder}/adapter_config.json"]
    )


def evaluated():
    """(run, step, set, dtype) of every evaluation: the base model once, and each kept checkpoint."""
    common, every = experiment.evaluation.common_dtype, experiment.evaluation.every
    steps = range(every, experiment.max_steps + 1, every)
    in_own = {"none": [], "last": steps[-1:], "all": steps}
    dtypes = {("base", 0): {common}}
    for run in runs():
        for step in steps:
            dtypes[run, step] = {common}
            if step in in_own[experiment.evaluation.own_dtype]:
                dtypes[run, step].add(experiment.arms[arm_of(run)].sampler_dtype)
    return [
        (run, step, name, dtype)
        for name in experiment.evaluate_on
        for (run, step), wanted in dtypes.items()
        for dtype in sorted(wanted)
    ]


# Slices and inputs that depend on wildcards.


def source_digest(name):
    """A source with the digest of its files in place of their path: moving a file changes nothing."""
    source = experiment.sources[name]
    if not files_of_source(name):
        return source
    digest = dependencies.digest(HASHES.of_all(files_of_source(name)))
    return source.model_copy(update={"path": digest})


def source_paths(names):
    """Where the files of the named sources lie, as JSON."""
    return json.dumps(
        {
            name: experiment.sources[name].path
            for name in names
            if files_of_source(name)
        },
        sort_keys=True,
    )


def candidates_slice():
    """The slice of the training candidates."""
    slice = experiment.candidates_slice()
    return slice.model_copy(
        update={"sources": {name: source_digest(name) for name in slice.sources}}
    )


def evaluation_set_cfg(wildcards):
    """The slice of one evaluation set."""
    slice = experiment.evaluation_set_slice(wildcards.set)
    source = experiment.evaluation_sets[wildcards.set].source
    return settings(slice.model_copy(update={"source": source_digest(source)}))


def evaluation_set_paths(wildcards):
    """Where its files lie."""
    return source_paths([experiment.evaluation_sets[wildcards.set].source])


def train_rows(wildcards):
    """What runs train on."""
    name = "train" if experiment.perfectible.enabled else "candidates"
    return f"{RESULTS}/data/{name}.parquet"


@cache
def arm_settings(arm):
    """The slice of one arm."""
    return settings(experiment.train_slice(arm))


def train_cfg(wildcards):
    """The slice of a segment's arm."""
    return arm_settings(wildcards.arm)


def previous_segment(wildcards):
    """What a segment goes on from; nothing for the first."""
    start = segment_start(wildcards)
    run = f"{RESULTS}/runs/{wildcards.arm}/seed-{wildcards.seed}"
    names = ("adapter_model.safetensors", "adapter_config.json", "trainer_state.tar")
    return (
        [
            *(f"{run}/checkpoint-{start}/{name}" for name in names),
            f"{run}/facts-{start}.json",
        ]
        if start
        else []
    )


def train_gpus(wildcards):
    """One GPU per data-parallel process."""
    return (
        experiment.training_of(wildcards.arm).processes
        if gpus(experiment.resources.train)
        else 0
    )


def train_launcher(wildcards):
    """How the script is started: by accelerate when there are several processes."""
    processes = experiment.training_of(wildcards.arm).processes
    command = launcher(experiment.resources.train, train_gpus(wildcards))
    if processes > 1:
        command += (
            f" -m accelerate.commands.launch --num_processes {processes} --num_machines 1 --mixed_precision no"
            f" --dynamo_backend no --main_process_port 0 {'--cpu' if experiment.device == 'cpu' else '--multi_gpu'}"
        )
    return command


def sampled_adapter(wildcards):
    """The checkpoint that is sampled."""
    return checkpoint_files(wildcards.run, wildcards.step)


@cache
def sample_settings(arm, name, dtype):
    """The slice of the completions for one arm (None: the base model), set and dtype."""
    return settings(experiment.sample_slice(arm, name, dtype))


def sample_cfg(wildcards):
    """The slice of one file of completions."""
    return sample_settings(arm_of(wildcards.run), wildcards.set, wildcards.dtype)


def report_inputs():
    """Every file that the report is made from."""
    data = ["candidates", *(["train"] if experiment.perfectible.enabled else [])]
    files = [f"{RESULTS}/model/manifest.json"]
    files += [f"{RESULTS}/data/{name}.json" for name in data]
    for name in experiment.evaluate_on:
        files += [f"{RESULTS}/data/{name}.json", f"{RESULTS}/data/{name}.parquet"]
    for run in runs():
        segment = experiment.training_of(arm_of(run)).segment_steps
        for stop in range(segment, experiment.max_steps + 1, segment):
            files += [
                f"{RESULTS}/runs/{run}/{kind}-{stop}.{suffix}"
                for kind, suffix in (
                    ("steps", "jsonl"),
                    ("timing", "jsonl"),
                    ("facts", "json"),
                )
            ]
    files += [
        f"{RESULTS}/scores/{run}/step-{step}/{name}.{dtype}.parquet"
        for run, step, name, dtype in evaluated()
    ]
    # Completions around a collapse are shown from the primary set.
    files += [
        f"{RESULTS}/samples/{run}/step-{step}/{name}.{dtype}.parquet"
        for run, step, name, dtype in evaluated()
        if name == experiment.report.primary_set
        and dtype == experiment.evaluation.common_dtype
    ]
    return files + audits()


def audits():
    """The joined audit of every audited checkpoint."""
    every = experiment.audit.every
    return [
        f"{RESULTS}/audit/{run}/step-{step}/chain.json"
        for run in runs()
        for step in range(every, experiment.max_steps + 1, every)
    ]


def audited_adapter(wildcards):
    """The checkpoint that is audited."""
    return checkpoint_files(wildcards.run, wildcards.step)


def audit_scored(wildcards):
    """What a checkpoint's audit joins: the completions, and their log-probs under every other engine setting."""
    arm = arm_of(wildcards.run)
    dtypes = experiment.arms[arm].trainer_dtype, experiment.arms[arm].sampler_dtype
    merged = experiment.training_of(arm).sync == "merge"
    folder = f"{RESULTS}/audit/{wildcards.run}/step-{wildcards.step}"
    return [
        f"{folder}/{name}.parquet"
        for name in ("draw", *audit_engines(*dtypes, merged=merged))
    ]


def audit_draw_cfg(wildcards):
    """The slice of a checkpoint's audited completions."""
    return settings(experiment.audit_draw_slice(arm_of(wildcards.run)))


def audit_trainer_cfg(wildcards):
    """The slice of the trainer's log-probs in one dtype."""
    arm = arm_of(wildcards.run)
    return settings(experiment.audit_trainer_slice(arm, wildcards.dtype))


def audit_sampler_cfg(wildcards):
    """The slice of one sampler engine's log-probs."""
    arm = arm_of(wildcards.run)
    return settings(
        experiment.audit_sampler_slice(arm, wildcards.dtype, wildcards.adapter)
    )


def audit_join_cfg(wildcards):
    """The slice of a checkpoint's chain."""
    return settings(experiment.audit_join_slice(arm_of(wildcards.run)))


def report_template():
    """Template, styles and scripts of the page."""
    files = (ROOT / "workflow" / "report").rglob("*")
    return sorted(
        str(file.relative_to(ROOT))
        for file in files
        if file.is_file() and file.suffix != ".rst"
    )
