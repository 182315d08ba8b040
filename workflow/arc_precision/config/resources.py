"""Requests of each kind of job. Never part of a slice: a larger request changes no result."""

from pydantic import Field

from arc_precision.config.base import Section


class Job(Section):
    """A kind of job that uses no GPU."""

    threads: int = Field(1, gt=0, description="CPU threads.")
    mem_mb: int = Field(4000, gt=0, description="Memory.")
    disk_mb: int = Field(2000, gt=0, description="Scratch disk.")
    runtime: int = Field(240, gt=0, description="Minutes.")


class GpuJob(Job):
    """A kind of job that uses GPUs with device: cuda."""

    gpu: int = Field(1, ge=0, description="GPUs; only asked for with device: cuda.")


class EngineJob(Section):
    """A kind of job that runs vLLM."""

    gpu_memory_percent: int = Field(30, gt=0, le=100, description="Share of a GPU's memory that vLLM takes.")
    kv_cache_mb: int | None = Field(
        None,
        gt=0,
        description="Memory of vLLM's keys and values, instead of the share. It is for several jobs on one GPU: "
        "vLLM cannot measure free memory while other jobs start and end.",
    )


class TrainJob(EngineJob, Job):
    """Training. With device: cuda it asks for one GPU per process (`training.processes`)."""

    seeds_together: int = Field(
        4,
        gt=0,
        description="Most seeds of an arm that train in one job, over one engine. A number below that of the seeds "
        "spreads them over several jobs, and so over GPUs. It applies to new runs: begun runs stay "
        "with those that they began with.",
    )


class SampleJob(EngineJob, GpuJob):
    """Sampling and scoring completions with a model."""


class Resources(Section):
    """Requests by kind of job."""

    data: Job = Field(Job(), description="Tasks, prompts, manifests.")
    train: TrainJob = Field(TrainJob(), description="One training segment; one GPU per process of training.")
    sample: SampleJob = Field(SampleJob(gpu_memory_percent=85), description="Completions, perfectible set, audit.")
    score: Job = Field(Job(mem_mb=2000), description="Running programs.")
    report: Job = Field(Job(mem_mb=2000), description="Joining, statistics, the page.")
    pretrain: GpuJob = Field(GpuJob(threads=2, mem_mb=8000), description="Training the tiny model.")
    warm_start: GpuJob = Field(
        GpuJob(threads=2, mem_mb=16000, disk_mb=8000), description="Fine-tuning a pretrained model."
    )
