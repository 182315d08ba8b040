"""The audit: why trainer and sampler disagree at a checkpoint."""

from pydantic import Field

from arc_precision.config.base import Dtype, Section
from arc_precision.config.sampling import SamplingConfig
from arc_precision.config.training import LoraSettings


class AuditConfig(Section):
    """A fixed set of completions is scored under controlled settings, one job per engine setting."""

    every: int = Field(20, gt=0, description="Steps between audited checkpoints; step 0 is the base model.")
    set: str = Field("generated-held-out", description="Evaluation set whose prompts are used.")
    n_prompts: int = Field(16, gt=0, description="Prompts taken from it.")
    n_samples: int = Field(2, gt=0, description="Completions per prompt.")
    batch_sizes: tuple[int, int] = Field(
        (8, 3), description="Two batch sizes of the trainer: their difference is the noise floor."
    )
    counterfactual_top_p: float = Field(0.95, gt=0, le=1, description="What this truncation would add.")
    counterfactual_repetition_penalty: float = Field(1.05, gt=0, description="What this penalty would add.")
    seed: int = Field(0, ge=0, description="Seed of the audited completions.")


class AuditSlice(Section):
    """What decides the log-probs of one engine setting."""

    device: str
    load_in_4bit: bool
    dtype: Dtype
    sampling: SamplingConfig
    lora: LoraSettings
    audit: AuditConfig
    max_prompt_tokens: int
    sync: str


class AuditJoinSlice(Section):
    """What decides the chain of one checkpoint."""

    trainer_dtype: Dtype
    sampler_dtype: Dtype
    sync: str
    audit: AuditConfig
