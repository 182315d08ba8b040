"""The audit: why trainer and sampler disagree at a checkpoint."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from arc_precision.config.base import Dtype, Head, Section, Seed
from arc_precision.config.sampling import SamplingConfig
from arc_precision.mismatch.number_format import EXACT, with_float32_head

Adapter = Literal["applied", "merged"]


class AuditConfig(Section):
    """A fixed set of completions is scored under controlled settings, one job per engine setting."""

    every: int = Field(20, gt=0, description="Steps between audited checkpoints. Above max_steps nothing is audited.")
    set: str = Field("generated-held-out", description="Evaluation set whose prompts are used.")
    n_prompts: int = Field(16, gt=0, description="Prompts taken from it.")
    n_samples: int = Field(2, gt=0, description="Completions per prompt.")
    batch_sizes: tuple[PositiveInt, PositiveInt] = Field(
        (8, 3),
        description="Completions per forward pass. Everything is scored with the first. The change with the second "
        "is the noise floor for the trainer, and a counterfactual cause for the sampler.",
    )
    counterfactual_top_p: float = Field(
        0.95, gt=0, le=1, description="A top_p whose effect on d is computed as a counterfactual cause."
    )
    counterfactual_repetition_penalty: float = Field(
        1.05, gt=0, description="A repetition penalty whose effect on d is computed in the same way."
    )
    head: bool = Field(
        False,
        description="Separate the rounding of the LM head's logits from all other rounding, as a cause of its own. "
        "Takes one more job for each side and half-precision dtype.",
    )
    seed: Seed = Field(0, description="Seed of the audited completions.")

    @model_validator(mode="after")
    def _two_sizes(self):
        if self.batch_sizes[0] == self.batch_sizes[1]:
            raise ValueError(f"batch_sizes {list(self.batch_sizes)} are equal, which shows nothing; write two sizes")
        return self


class Processing(Section):
    """A sampler's processing of the logits before it draws; the trainer has no such processing."""

    repetition_penalty: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    @property
    def name(self) -> str:
        """A name such as `top_p 0.95`; `none` without any processing."""
        done = [f"{key} {value:g}" for key, value in self if value != type(self).model_fields[key].default]
        return ", ".join(done) or "none"


class AuditDrawSlice(Section):
    """The settings behind the audited completions and the log-probs of the sampler that drew them. `merged`: see
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
    """The settings behind the trainer's log-probs in one dtype. `processings` are computed from its logits as well."""

    device: str
    dtype: Dtype
    head: Head
    load_in_4bit: bool
    shared_prompt: bool
    deterministic: bool
    batch_sizes: tuple[int, int]
    processings: tuple[Processing, ...]


class AuditSamplerSlice(Section):
    """The settings behind the log-probs of a sampler that only scores."""

    device: str
    dtype: Dtype
    adapter: Adapter
    sampling: SamplingConfig
    batch_size: int


class AuditJoinSlice(Section):
    """The settings behind the chain of one checkpoint. `in_effect` is the processing of logits by the arm's sampler.

    `head_apart`: whether the head's rounding is a cause of its own; `float8`: whether the arm's sampler is in float8.
    """

    trainer_dtype: Dtype
    sampler_dtype: Dtype
    trainer_head: Head
    sampler_head: Head
    head_apart: bool
    float8: bool
    merged: bool | None
    other_batch_size: int
    processings: tuple[Processing, ...]
    in_effect: Processing


def audit_engines(
    trainer: str, sampler: str, merged: bool | None, head_apart: bool = False, float8: bool = False
) -> list[str]:
    """The engine settings that are scored for an arm beside the one that draws, as names of files.

    There are three groups: the settings of the stated chain; if both sides round, those for the orders with the engine
    first or last; and the sampler with the adapter as the run did not have it. `trainer`, `sampler`: the names of
    number formats. `merged`: whether the run samples from merged weights; None without an adapter, and then all
    settings are called `applied`. For `head_apart` every format is scored with a float32 head as well. Only the engine
    that draws is in float8, and no adapter can be merged into it.
    """
    crossed = {trainer, sampler} if EXACT not in (trainer, sampler) else set()

    def scored(own: str) -> set[str]:
        formats = {own, EXACT} | crossed
        return formats | {with_float32_head(form) for form in formats} if head_apart else formats

    samplers = {(form, "applied") for form in scored(sampler)}
    if merged is not None and not float8:
        samplers.add((sampler, "merged"))
    if not float8:
        samplers.remove((sampler, "merged" if merged else "applied"))
    return [
        *(f"trainer.{form}" for form in sorted(scored(trainer))),
        *(f"sampler.{form}.{adapter}" for form, adapter in sorted(samplers)),
    ]
