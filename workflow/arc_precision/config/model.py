"""The base model."""

from pydantic import Field

from arc_precision.config.base import PathText, Section
from arc_precision.config.thinking import Thinking


class ModelConfig(Section):
    """The weights that every run starts from, and their prompts."""

    path: PathText = Field(
        "resources/tiny-arc",
        min_length=1,
        description="Folder of a Hugging Face causal language model, or its id on the Hub: ORG/NAME or "
        "ORG/NAME@REVISION.",
    )
    prompt: PathText = Field(
        "dsl",
        min_length=1,
        description="How a task becomes a prompt: `dsl` for the embedded tiny model, `barc` for models trained on "
        "BARC's chat format, `qwen3` for models that think first, `soar` for code models, or the path of a Jinja "
        "template of your own (docs/models.md).",
    )
    thinking: Thinking | None = Field(
        None,
        description="For models that think first: {open: <think>, close: </think>}. A program is then taken only "
        "from behind the thinking part; a completion that is cut inside it has none. null: from "
        "anywhere.",
    )
    load_in_4bit: bool = Field(
        False,
        description="Trainer's base weights in 4 bits (bitsandbytes, CUDA only); the sampler's stay in its dtype.",
    )
