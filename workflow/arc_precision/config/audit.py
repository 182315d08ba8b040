"""The audit: why trainer and sampler disagree at a checkpoint."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from arc_precision.config.base import Dtype, Section, Seed
from arc_precision.config.sampling import SamplingConfig

Adapter = Literal["applied", "merged"]


class AuditConfig(Section):
    """A fixed set of completions is scored under controlled settings, one job per engine setting."""

    every: int = Field(20, gt=0, description="Steps between audited checkpoints. Above max_steps nothing is audited.")
    set: str = Field("generated-held-out", description="Evaluation set whose prompts are used.")
    n_prompts: int = Field(16, gt=0, description="Prompts taken from it.")
    n_samples: int = Field(2, gt=0, description="Completions per prompt.")
    batch_sizes: tuple[PositiveInt, PositiveInt] = Field(
        (8, 3),
        description="Completions per forward pass. Everything is scored with the first; what the second changes in the "
        "trainer is the noise floor, and in the sampler a counterfactual cause.",
    )
    counterfactual_top_p: float = Field(0.95, gt=0, le=1, description="What this truncation would add.")
    counterfactual_repetition_penalty: float = Field(1.05, gt=0, description="What this penalty would add.")
    seed: Seed = Field(0, description="Seed of the audited completions.")

    @model_validator(mode="after")
    def _two_sizes(self):
        if self.batch_sizes[0] == self.batch_sizes[1]:
            raise ValueError(f"batch_sizes {list(self.batch_sizes)} are equal, which shows nothing; write two sizes")
        return self


class Processing(Section):
    """What a sampler does to the logits before it draws; the trainer does none of it."""

    repetition_penalty: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    @property
    def name(self) -> str:
        """Such as `top_p 0.95`; `none` when nothing is done."""
        done = [f"{key} {value:g}" for key, value in self if value != type(self).model_fields[key].default]
        return ", ".join(done) or "none"


class AuditDrawSlice(Section):
    """What decides the audited completions and the log-probs of the sampler that drew them. `merged`: see
    `TrainingConfig.merged`."""

    device: str
    dtype: Dtype
    merged: bool | None
    sampling: SamplingConfig
    n_prompts: int
    n_samples: int
    seed: int
    batch_sizes: tuple[int, int]


class AuditTrainerSlice(Section):
    """What decides the trainer's log-probs in one dtype. `processings` are computed from its logits as well."""

    device: str
    dtype: Dtype
    load_in_4bit: bool
    shared_prompt: bool
    batch_sizes: tuple[int, int]
    processings: tuple[Processing, ...]


class AuditSamplerSlice(Section):
    """What decides the log-probs of one sampler that drew nothing."""

    device: str
    dtype: Dtype
    adapter: Adapter
    sampling: SamplingConfig
    batch_size: int


class AuditJoinSlice(Section):
    """What decides the chain of one checkpoint. `in_effect` is what the arm's sampler did to the logits."""

    trainer_dtype: Dtype
    sampler_dtype: Dtype
    merged: bool | None
    other_batch_size: int
    processings: tuple[Processing, ...]
    in_effect: Processing


def audit_engines(trainer_dtype: Dtype, sampler_dtype: Dtype, merged: bool | None) -> list[str]:
    """The engine settings that are scored for an arm beside the one that draws, as names of files.

    They are those of the stated chain, those that comparing the engines first or last instead would need where both
    sides round, and the sampler with the adapter as the run did not have it. `merged`: whether the run samples from
    merged weights; None without an adapter, where all settings are called `applied`.
    """
    crossed = {trainer_dtype, sampler_dtype} if "float32" not in (trainer_dtype, sampler_dtype) else set()
    trainers = {trainer_dtype, "float32"} | crossed
    samplers = {(dtype, "applied") for dtype in {sampler_dtype, "float32"} | crossed} | {(sampler_dtype, "merged")}
    samplers.remove((sampler_dtype, "merged" if merged else "applied"))
    if merged is None:
        samplers.remove((sampler_dtype, "merged"))
    return [
        *(f"trainer.{dtype}" for dtype in sorted(trainers)),
        *(f"sampler.{dtype}.{adapter}" for dtype, adapter in sorted(samplers)),
    ]
