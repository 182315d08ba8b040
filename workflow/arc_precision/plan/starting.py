"""The start of jobs: their GPUs, their launcher, and the memory for vLLM."""

from arc_precision.config.experiment import ExperimentConfig
from arc_precision.config.resources import EngineJob, GpuJob


def gpus(experiment: ExperimentConfig, job: GpuJob) -> int:
    """GPUs that a kind of job asks for: none in the CPU environment."""
    return job.gpu if experiment.device == "cuda" else 0


def train_gpus(experiment: ExperimentConfig, arm: str) -> int:
    """GPUs of a training job: one per data-parallel process."""
    return experiment.training_of(arm).processes if experiment.device == "cuda" else 0


def engine_memory(job: EngineJob) -> str:
    """Memory of a GPU that vLLM takes, for the command line of a script."""
    flags = f"--gpu-memory-percent {job.gpu_memory_percent}"
    return flags + (f" --kv-cache-mb {job.kv_cache_mb}" if job.kv_cache_mb else "")


def launcher(n_gpus: int, shared: bool = False) -> str:
    """The beginning of a command line: Python on some GPUs of its machine, `shared` with other jobs or alone."""
    company = "shared" if shared else "alone"
    return f'python "$WORKFLOW/scripts/on_gpus.py" {n_gpus} {company} python' if n_gpus else "python"


def sample_launcher(experiment: ExperimentConfig) -> str:
    """The same for sampling. If vLLM's cache has a limit, other jobs may use the same GPU."""
    job = experiment.resources.sample
    return launcher(gpus(experiment, job), shared=job.kv_cache_mb is not None)


def train_launcher(experiment: ExperimentConfig, arm: str) -> str:
    """The same for training: several processes are started by accelerate."""
    processes = experiment.training_of(arm).processes
    command = launcher(train_gpus(experiment, arm), shared=experiment.resources.train.kv_cache_mb is not None)
    if processes > 1:
        command += (
            f" -m accelerate.commands.launch --num_processes {processes} --num_machines 1 --mixed_precision no"
            f" --dynamo_backend no --main_process_port 0 {'--cpu' if experiment.device == 'cpu' else '--multi_gpu'}"
        )
    return command
