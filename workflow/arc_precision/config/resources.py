"""What each kind of job asks for. Never part of a slice: asking for more changes no result."""

from pydantic import Field

from arc_precision.config.base import Section


class JobResources(Section):
    """One kind of job."""

    threads: int = Field(1, gt=0, description="CPU threads.")
    mem_mb: int = Field(4000, gt=0, description="Memory.")
    disk_mb: int = Field(2000, gt=0, description="Scratch disk.")
    runtime: int = Field(240, gt=0, description="Minutes.")
    gpu: int = Field(0, ge=0, description="GPUs; only asked for with device: cuda.")
    gpu_memory_percent: int = Field(30, gt=0, le=100, description="Share of a GPU's memory that vLLM takes.")
    kv_cache_mb: int | None = Field(
        None,
        gt=0,
        description="Memory of vLLM's keys and values, in place of the share: for several jobs on one GPU, where vLLM "
        "cannot measure what is left while others come and go.",
    )


class Resources(Section):
    """Per kind of job."""

    data: JobResources = Field(JobResources(threads=1), description="Tasks, prompts, manifests.")
    train: JobResources = Field(JobResources(threads=1, gpu=1), description="One training segment.")
    sample: JobResources = Field(
        JobResources(threads=1, gpu=1, gpu_memory_percent=85), description="Completions, perfectible set, audit."
    )
    score: JobResources = Field(JobResources(threads=1, mem_mb=2000), description="Running programs.")
    report: JobResources = Field(JobResources(threads=1, mem_mb=2000), description="Joining, statistics, the page.")
    pretrain: JobResources = Field(JobResources(threads=2, gpu=1, mem_mb=8000), description="Training the tiny model.")
    warm_start: JobResources = Field(
        JobResources(threads=2, gpu=1, mem_mb=16000, disk_mb=8000), description="Fine-tuning a pretrained model."
    )
