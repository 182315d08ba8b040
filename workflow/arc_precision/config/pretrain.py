"""How the tiny model is made."""

from pydantic import Field, model_validator

from arc_precision.config.base import DepthWeights, Section, Seed


class PretrainConfig(Section):
    """Training a small Llama from scratch on generated tasks. The defaults are the recipe of `resources/tiny-arc`."""

    seed: Seed = Field(1000, description="Seed of the generated tasks, the initial weights and the batches.")
    depths: DepthWeights = Field(
        (0.45, 0.40, 0.15), description="Relative weight of programs of one, two and three steps."
    )

    hidden_size: int = Field(256, gt=0, description="Width of the model.")
    layers: int = Field(8, gt=0, description="Number of layers.")
    heads: int = Field(8, gt=0, description="Attention heads; they share hidden_size among them.")
    intermediate_size: int = Field(704, gt=0, description="Width of the feed-forward part.")
    context_tokens: int = Field(
        1536, gt=0, le=1536, description="Longest prompt with completion; longer ones are dropped."
    )

    steps: int = Field(15400, gt=0, description="Optimizer steps.")
    batch_tokens: int = Field(65536, gt=0, description="Tokens per step, padding included.")
    draws_per_task: float = Field(
        2.0, gt=0, description="How often a generated task is drawn on average, in new colours each time."
    )
    learning_rate: float = Field(1.5e-3, gt=0, description="AdamW's learning rate after the warm-up.")
    warmup_steps: int = Field(500, ge=0, description="Steps over which the learning rate rises from zero.")
    decay_from_step: int = Field(14950, ge=0, description="Step from which the learning rate falls linearly.")
    decay_steps: int = Field(
        8050, gt=0, description="Steps in which it would fall to zero; training may stop before that."
    )
    weight_decay: float = Field(0.05, ge=0, description="AdamW's weight decay, on matrices only.")
    output_loss_weight: float = Field(
        0.2, ge=0, description="Weight of the loss on the output grids in the prompt, beside the loss on the program."
    )

    log_every: int = Field(250, gt=0, description="Steps between log lines.")
    evaluate_every: int = Field(7700, ge=0, description="Steps between evaluations on the way; 0: at the end alone.")
    evaluation_tasks: int = Field(
        400,
        ge=0,
        description="At most this many tasks of each evaluation set: generated, ARC-AGI-1 training and evaluation.",
    )

    @model_validator(mode="after")
    def _shares(self):
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size {self.hidden_size} must be an even multiple of heads {self.heads}")
        if self.batch_tokens < self.context_tokens:
            raise ValueError(f"batch_tokens {self.batch_tokens} must be at least context_tokens {self.context_tokens}")
        return self
