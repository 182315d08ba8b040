"""One GRPO run."""

from math import gcd
from typing import Any, Literal

from pydantic import Field, model_validator

from arc_precision.config.base import Dtype, Head, Section
from arc_precision.config.collapse import CollapseConfig
from arc_precision.config.sampling import SamplingConfig
from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.thinking import Thinking


class LoraSettings(Section):
    """The trained adapter (PEFT LoRA)."""

    r: int = Field(8, gt=0, description="Rank.")
    alpha: float = Field(64, gt=0, description="Scale before the division by r, or by sqrt(r) with rsLoRA.")
    use_rslora: bool = Field(False, description="Scale alpha/sqrt(r) instead of alpha/r.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout inside the adapter.")
    target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="Layers that carry an adapter.",
    )


class LrDrop(Section):
    """A learning rate that falls when the run's own measurements rise."""

    signal: Literal["completion_length", "mismatch"] = Field(
        description="What is watched: the mean length of completions, or the spread of the sequence log-ratio D."
    )
    rise: float = Field(1.5, gt=1, description="The rate falls when the signal is above this many times its reference.")
    factor: float = Field(0.5, gt=0, lt=1, description="The rate is multiplied by this.")
    window_steps: int = Field(
        10,
        gt=0,
        description="The signal is a mean over so many steps. Its reference is that of the first steps, after a drop "
        "that of the drop.",
    )


class LossScaleConfig(Section):
    """float16's dynamic loss scale (torch.amp.GradScaler); unused in other dtypes."""

    init_scale: float = Field(1024.0, gt=0, description="First scale. Too high a scale skips the first steps.")
    growth_interval: int = Field(400, gt=0, description="Steps without overflow before the scale doubles.")


class TrainingConfig(Section):
    """GRPO. Names are those of TRL's GRPOConfig wherever it has one."""

    segment_steps: int = Field(
        10,
        gt=0,
        description="Optimizer steps per job. A checkpoint is kept after each job, and an evicted job loses at "
        "most these steps.",
    )
    reward: Literal["arc-v1", "arc-v2-no-pixel-score"] = Field(
        "arc-v2-no-pixel-score",
        description="0 for a program that is not valid, else 1 + 9C (arc-v2-no-pixel-score) or 1 + 8C + P (arc-v1); "
        "C: share of grids exactly right, P: mean pixel score.",
    )
    learning_rate: float = Field(
        1e-3,
        gt=0,
        description="Constant after the warm-up. Chosen with lora.alpha and the batch by a sweep in both dtypes, "
        "before arms were compared (benchmarks/results/sweep-h200.json): best reward after 60 steps; five times as "
        "much collapses.",
    )
    warmup_steps: int = Field(0, ge=0, description="Steps of linear warm-up.")
    lr_scheduler_type: Literal["constant_with_warmup", "linear", "cosine"] = Field(
        "constant_with_warmup", description="`linear` and `cosine` fall to 0 at schedule_steps."
    )
    schedule_steps: int | None = Field(
        None, gt=0, description="Horizon of a falling schedule, independent of max_steps; null for a constant one."
    )
    lr_drop: LrDrop | None = Field(
        None,
        description="A learning rate that falls once completions grow or the mismatch rises (arXiv 2602.01826): "
        "{signal: completion_length or mismatch, rise: 1.5, factor: 0.5, window_steps: 10}, by the rule in "
        "docs/remedies.md; null: none.",
    )
    optim: Literal["adamw_torch", "adamw_8bit"] = Field("adamw_torch", description="adamw_8bit needs bitsandbytes.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's decay of the mean gradient.")
    adam_beta2: float = Field(
        0.999, ge=0, lt=1, description="AdamW's decay of the mean squared gradient; 0.95 in arXiv 2510.26788."
    )
    adam_epsilon: float = Field(1e-8, gt=0, description="AdamW's epsilon; 1e-15 in arXiv 2510.26788.")
    max_grad_norm: float = Field(0.1, gt=0, description="Gradient norm is clipped to this.")
    num_generations: int = Field(8, gt=1, description="Completions per prompt, the group of GRPO.")
    per_device_train_batch_size: int = Field(
        64,
        gt=0,
        description="Completions in one forward and backward pass; 8 prompts here. Two were too noisy to learn.",
    )
    gradient_accumulation_steps: int = Field(1, gt=0, description="Passes per optimizer step.")
    steps_per_generation: int = Field(1, gt=0, description="Passes that one batch of completions is split into.")
    num_iterations: int = Field(1, gt=0, description="How often each batch of completions is used.")
    beta: float = Field(0.0, ge=0, description="Weight of the KL to the base model; 0 skips its forward pass.")
    use_bias_correction_kl: bool = Field(
        False,
        description="Multiply the KL by the policy ratio, TRL's default since 1.10; false: GRPO's own KL.",
    )
    epsilon: float = Field(0.2, gt=0, description="Clipping range of the policy ratio.")
    epsilon_high: float | None = Field(None, gt=0, description="Upper clipping range; null: as epsilon.")
    delta: float | None = Field(
        None,
        gt=1,
        description="Largest policy ratio where the advantage is negative (two-sided clipping of INTELLECT-2, arXiv "
        "2505.07291); null: none.",
    )
    off_policy_mask_threshold: float | None = Field(
        None,
        gt=0,
        description="A completion of negative advantage has no gradient where the sampler's log-probs exceed the "
        "trainer's by more than this, mean over its tokens, in nats (DeepSeek-V3.2); null: none.",
    )
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"] = Field(
        "bnpo", description="How token losses are averaged (TRL)."
    )
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="Advantages are divided by this standard deviation."
    )
    importance_sampling_level: Literal["token", "sequence"] = Field(
        "token", description="Level of the policy ratio; `sequence` is GSPO."
    )
    mask_truncated_completions: bool = Field(
        False, description="True gives truncated completions no gradient, which makes collapse hard to leave."
    )
    correction: Literal[
        "off", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "sequence_geometric_mask"
    ] = Field(
        "off",
        description="Importance-sampling correction of the mismatch, by the ratio of trainer to sampler: of a token or "
        "of a sequence, limited (`truncate`) or dropped outside the limits (`mask`). `sequence_geometric_mask` drops "
        "sequences by their mean ratio per token and weighs the others alike. It partly hides the effect under study; "
        "the mismatch is always measured before it.",
    )
    correction_max: float | None = Field(3.0, gt=0, description="Largest ratio of the correction; null: no limit.")
    correction_min: float | None = Field(
        None, gt=0, description="Smallest ratio of the correction; null: no limit. With token_mask this is IcePop."
    )
    sync: Literal["adapter", "merge"] = Field(
        "adapter",
        description="How the sampler gets the trained adapter: as it is, or merged into the sampler's copy of the "
        "base in its dtype, which rounds the update away (an effect to measure, not to use).",
    )
    head_dtype: Head = Field(
        "model",
        description="The LM head's product in the loss: in the trainer's dtype, which rounds logits, or in float32. "
        "Set sampling.head_dtype alike: on one side alone it does not make the two agree.",
    )
    deterministic: bool = Field(
        False,
        description="PyTorch's deterministic algorithms in the trainer: two runs on one machine agree to the last bit, "
        "and an operation that has no such algorithm ends the job.",
    )
    gradient_checkpointing: bool = Field(False, description="Recompute activations in the backward pass.")
    shared_prompt: bool = Field(
        True, description="Compute the prompt of a group once instead of once per completion; exact up to rounding."
    )
    compile_layers: bool = Field(
        False,
        description="torch.compile the trainer's decoder layers: a sixth less time in its passes at 8B, and fewer "
        "roundings than without. Needs shared_prompt and a C++ compiler.",
    )
    kept_completions: int = Field(
        2,
        ge=0,
        description="Completions per batch that are kept with text, reward, verdict and log-probs, to be shown "
        "around a collapse; from different prompts as far as possible.",
    )
    processes: int = Field(1, gt=0, description="Data-parallel processes of one run, one GPU each.")
    lora: LoraSettings | None = Field(
        default_factory=LoraSettings,
        description="The trained adapter; null: full fine-tuning of all weights, with a far smaller learning_rate "
        "(docs/full-fine-tuning.md).",
    )
    loss_scale: LossScaleConfig = Field(default_factory=LossScaleConfig, description="float16's loss scale.")

    @model_validator(mode="after")
    def _aligned(self):
        batch = self.per_device_train_batch_size * self.processes * self.steps_per_generation
        if batch % self.num_generations:
            raise ValueError(
                f"per_device_train_batch_size {self.per_device_train_batch_size} x processes {self.processes} x "
                f"steps_per_generation {self.steps_per_generation} = {batch} completions cannot be split into groups "
                f"of num_generations {self.num_generations}; make it a multiple of {self.num_generations}"
            )
        passes, cycle = self.segment_steps * self.gradient_accumulation_steps, self.generation_cycle
        if passes % cycle:
            unit = cycle // gcd(cycle, self.gradient_accumulation_steps)
            below = self.segment_steps // unit * unit
            valid = f"{below} or {below + unit}" if below else f"{unit}"
            raise ValueError(
                f"segment_steps {self.segment_steps} x gradient_accumulation_steps {self.gradient_accumulation_steps} "
                f"is not a multiple of steps_per_generation {self.steps_per_generation} x num_iterations "
                f"{self.num_iterations}; write segment_steps: {valid}"
            )
        if None not in (self.correction_min, self.correction_max) and self.correction_min >= self.correction_max:
            raise ValueError(
                f"correction_min {self.correction_min} is not below correction_max {self.correction_max}; write a "
                "smaller one, such as 0.5"
            )
        if self.importance_sampling_level == "sequence" and self.beta > 0:
            raise ValueError(
                f"beta {self.beta:g} with importance_sampling_level sequence: the KL is of tokens and the ratio of "
                "whole sequences; write beta: 0, or importance_sampling_level: token"
            )
        if self.lora is None and self.sync == "merge":
            raise ValueError("sync merge has nothing to merge with lora: null; write sync: adapter")
        if self.lr_scheduler_type != "constant_with_warmup" and self.schedule_steps is None:
            raise ValueError(f"lr_scheduler_type {self.lr_scheduler_type} needs schedule_steps, the step where it ends")
        if self.schedule_steps and self.schedule_steps <= self.warmup_steps:
            raise ValueError(
                f"schedule_steps {self.schedule_steps} is not above warmup_steps {self.warmup_steps}, so that the rate "
                "would never fall; write a larger one, or fewer warmup_steps"
            )
        return self

    @property
    def merged(self) -> bool | None:
        """Whether the sampler has the adapter merged into its weights; None without an adapter."""
        return None if self.lora is None else self.sync == "merge"

    @property
    def generation_cycle(self) -> int:
        """Forward-backward passes between two draws of completions."""
        return self.steps_per_generation * self.num_iterations

    @property
    def prompts_per_generation(self) -> int:
        """Distinct prompts in one batch of completions, all processes together."""
        batch = self.per_device_train_batch_size * self.processes * self.steps_per_generation
        return batch // self.num_generations


class ArmConfig(Section):
    """One treatment: two dtypes, and any other setting that it changes."""

    trainer_dtype: Dtype = Field(description="Base weights and autocast of the trainer; what is trained stays float32.")
    sampler_dtype: Dtype = Field(description="vLLM's dtype while training.")
    training: dict[str, Any] = Field(default_factory=dict, description="Laid over the section `training`.")
    sampling: dict[str, Any] = Field(default_factory=dict, description="Laid over the section `sampling`.")


DEFAULT_ARMS: dict[str, dict] = {
    "float16": {"trainer_dtype": "float16", "sampler_dtype": "float16"},
    "bfloat16": {"trainer_dtype": "bfloat16", "sampler_dtype": "bfloat16"},
    "float32": {"trainer_dtype": "float32", "sampler_dtype": "float32"},
}


class TrainSlice(Section):
    """All settings that can change a segment of one arm. The file names give seed and steps."""

    device: str
    load_in_4bit: bool
    trainer_dtype: Dtype
    sampler_dtype: Dtype
    training: TrainingConfig
    sampling: SamplingConfig
    sandbox: SandboxConfig
    collapse: CollapseConfig | None  # only where it stops the run
    nonfinite_steps: int
    max_prompt_tokens: int
    thinking: Thinking | None = None
