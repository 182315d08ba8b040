"""The base model."""

from typing import Literal

from pydantic import Field

from arc_precision.config.base import Section


class ModelConfig(Section):
    """Which weights every run starts from."""

    path: str = Field("resources/tiny-arc", min_length=1, description="Folder of a Hugging Face causal language model.")
    prompt: Literal["dsl", "barc"] = Field(
        "dsl",
        description="How a task becomes a prompt: `dsl` for the embedded tiny model, `barc` for models trained on "
        "BARC's chat format.",
    )
    load_in_4bit: bool = Field(
        False,
        description="Trainer's base weights in 4 bits (bitsandbytes, CUDA only); the sampler's stay in its dtype.",
    )
