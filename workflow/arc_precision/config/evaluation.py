"""How kept checkpoints are evaluated: completions on the GPU, verdicts on the CPU."""

from typing import Literal

from pydantic import Field

from arc_precision.config.base import Dtype, Section, Seed
from arc_precision.config.sampling import SamplingConfig
from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.thinking import Thinking


class EvaluationConfig(Section):
    """Arms are compared in one common sampler dtype with the same sampling seeds."""

    every: int = Field(20, gt=0, description="Steps between evaluated checkpoints; step 0 is the base model.")
    n_samples: int = Field(2, gt=0, description="Completions per task.")
    common_dtype: Dtype = Field(
        "float32", description="Sampler dtype in which all arms are compared: float32 on a CPU, float16 on a GPU."
    )
    own_dtype: Literal["none", "last", "all"] = Field(
        "last",
        description="Checkpoints of each arm that are evaluated in its own sampler dtype as well, as a second set.",
    )
    temperature: float = Field(1.0, ge=0, description="0 is greedy decoding.")
    top_p: float = Field(1.0, gt=0, le=1, description="As in sampling, for evaluation alone.")
    seed: Seed = Field(0, description="Seed of the completions, the same for every arm and checkpoint.")


class SampleSlice(Section):
    """The settings behind the completions for one checkpoint, set and dtype."""

    device: str
    dtype: Dtype
    n_samples: int
    seed: int
    sampling: SamplingConfig
    lora_r: int
    max_prompt_tokens: int


class ScoreSlice(Section):
    """The settings behind the verdicts."""

    reward: str
    sandbox: SandboxConfig
    thinking: Thinking | None = None
