"""The base model."""

from pydantic import Field

from arc_precision.config.base import Section


class ModelConfig(Section):
    """Which weights every run starts from."""

    path: str = Field(
        "resources/tiny-arc",
        min_length=1,
        description="Folder of a Hugging Face causal language model, or its id on the Hub: ORG/NAME or "
        "ORG/NAME@REVISION.",
    )
    prompt: str = Field(
        "dsl",
        min_length=1,
        description="How a task becomes a prompt: `dsl` for the embedded tiny model, `barc` for models trained on "
        "BARC's chat format, `qwen3` for models that think first, `soar` for code models, or the path of a Jinja "
        "template of your own (docs/models.md).",
    )
    load_in_4bit: bool = Field(
        False,
        description="Trainer's base weights in 4 bits (bitsandbytes, CUDA only); the sampler's stay in its dtype.",
    )
