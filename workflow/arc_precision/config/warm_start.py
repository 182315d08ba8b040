"""How a pretrained model is warmed up before reinforcement learning."""

from typing import Literal

from pydantic import Field, model_validator

from arc_precision.config.base import Device, Dtype, Section, Seed
from arc_precision.config.data import BarcSource, GeneratedSource
from arc_precision.config.sampling import SamplingConfig
from arc_precision.config.sandbox import SandboxConfig


class SolvedBarcSource(BarcSource):
    """BARC's tasks with their programs, which each task has under the key `source`."""

    kind: Literal["barc"] = Field("barc", description="BARC's format.")
    n_tasks: int = Field(30000, gt=0, description="At most this many tasks, from the file's beginning.")


class TargetConfig(Section):
    """The form of a task's completion. The program, in its fence, always comes last."""

    test_output: bool = Field(
        True, description="Write the output grid that the test input should give, in the prompt's own words."
    )
    train_outputs: int = Field(
        0, ge=0, description="Before it, repeat the output grids of this many examples, to make completions longer."
    )


class WarmStartFit(Section):
    """The settings behind the fine-tuning itself."""

    source: GeneratedSource = Field(
        GeneratedSource(kind="generated", n_tasks=30000, seed=7), description="Tasks with their programs."
    )
    barc: SolvedBarcSource | None = Field(
        None,
        description="BARC's tasks and programs instead of generated ones: `path` of a file whose tasks have their "
        "`source`, and `n_tasks`.",
    )
    target: TargetConfig = Field(TargetConfig(), description="Form of the completions that the model learns.")
    max_prompt_tokens: int = Field(1300, gt=0, description="Longer prompts are dropped, and counted.")
    max_completion_tokens: int = Field(400, gt=0, description="Longer completions are dropped, and counted.")
    steps: int = Field(480, gt=0, description="Optimizer steps; the learning rate falls linearly to zero over them.")
    warmup_steps: int = Field(30, ge=0, description="Steps over which the learning rate rises from zero.")
    learning_rate: float = Field(6e-4, gt=0, description="AdamW's learning rate after the warm-up.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay.")
    batch_tokens: int = Field(
        40000, gt=0, description="Tokens of a step at most, padding included. All of them are on the GPU at once."
    )
    seed: int = Field(0, ge=0, description="Seed of the order.")
    held_out_tasks: int = Field(200, gt=0, description="Tasks that are left out of training, for the loss at the end.")
    log_every: int = Field(20, gt=0, description="Steps between log lines.")
    checkpoint_every: int = Field(
        120, gt=0, description="Steps between checkpoints, from which a killed job continues."
    )

    @model_validator(mode="after")
    def _room(self):
        longest = self.max_prompt_tokens + self.max_completion_tokens
        if self.batch_tokens < longest:
            raise ValueError(
                f"batch_tokens {self.batch_tokens} cannot hold the longest example; write {longest}, the sum of "
                "max_prompt_tokens and max_completion_tokens, or more"
            )
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be less than steps {self.steps}")
        if self.solved_source.n_tasks <= self.held_out_tasks:
            raise ValueError(
                f"held_out_tasks {self.held_out_tasks} leaves none of {self.solved_source.n_tasks} tasks to learn"
            )
        return self

    @property
    def solved_source(self) -> GeneratedSource | SolvedBarcSource:
        """The source of the examples."""
        return self.barc or self.source


class TrialConfig(Section):
    """New tasks on which the card compares the model before and after."""

    source: GeneratedSource = Field(
        GeneratedSource(kind="generated", n_tasks=200, seed=9), description="Tasks that the model does not learn from."
    )
    n_samples: int = Field(4, gt=0, description="Completions per task, at temperature 1.")
    seed: Seed = Field(0, description="Seed of the completions.")


class WarmStartConfig(WarmStartFit):
    """Supervised fine-tuning of all weights of `model.path` on tasks and their programs, in the format of the prompt.

    The defaults take minutes on one GPU with 80 GB for a model of 135 million parameters.
    """

    trial: TrialConfig = Field(TrialConfig(), description="Comparison of the model before and after, on new tasks.")

    @model_validator(mode="after")
    def _new_tasks(self):
        if self.barc is None and self.trial.source.seed == self.source.seed:
            raise ValueError(
                f"trial.source.seed {self.trial.source.seed} gives the tasks that the model learns from; write another "
                "seed"
            )
        return self


class WarmStartSlice(Section):
    """The settings behind the warmed-up model, apart from the files of the model that it starts from."""

    device: Device
    prompt: str
    warm_start: WarmStartFit

    def with_path(self, path: str) -> "WarmStartSlice":
        """The slice with another path of BARC's file: the real one, or a digest in its place."""
        barc = self.warm_start.barc.model_copy(update={"path": path})
        return self.model_copy(update={"warm_start": self.warm_start.model_copy(update={"barc": barc})})


class TrialSlice(Section):
    """The settings behind a trial, apart from the files of the model that is tried."""

    device: Device
    prompt: str
    dtype: Dtype
    trial: TrialConfig
    max_prompt_tokens: int
    sampling: SamplingConfig
    sandbox: SandboxConfig
