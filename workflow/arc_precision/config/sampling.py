"""How completions are drawn."""

from typing import Annotated, Literal

from pydantic import Field

from arc_precision.config.base import Section


class SamplingConfig(Section):
    """The sampler's distribution and engine, in training and in evaluation."""

    engine: Literal["vllm", "transformers"] = Field(
        "vllm", description="`vllm` in process, or plain `transformers` generation where vLLM is not wanted."
    )
    temperature: float = Field(1.0, ge=0, description="Divides the logits, in the sampler and in the loss.")
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Below 1 the sampler draws from another distribution than the one trained on: 0.95 shifts "
        "log-probs by up to 0.051 nats, three times bfloat16's own mismatch. Flagged in the report.",
    )
    top_k: int = Field(0, ge=0, description="0: all tokens. Flagged in the report when above 0, as top_p is.")
    repetition_penalty: float = Field(
        1.0, gt=0, description="1: none. Changes what is sampled but not what is trained; flagged in the report."
    )
    max_completion_tokens: int = Field(48, gt=0, description="A completion is cut here and counts as truncated.")
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Texts that end a completion, which keeps them; one that ends so does not count as truncated."
    )
    decoding: Literal["eager", "graphs", "compiled"] = Field(
        "graphs",
        description="How vLLM decodes on a GPU: `graphs` replays CUDA graphs that it captures at its start, `compiled` "
        "compiles the model as well, which takes longer to start, `eager` does neither. Always eager on a CPU.",
    )
    prefix_caching: bool = Field(True, description="vLLM keeps the keys and values of a prompt for its whole group.")
    weight_noise: float = Field(
        0.0,
        ge=0,
        description="A dose of mismatch: standard deviation of Gaussian noise, drawn anew at each synchronization, on "
        "every entry of the sampler's LoRA B. Evaluation and audit sample without it.",
    )
    logit_noise: float = Field(
        0.0,
        ge=0,
        description="A dose of mismatch: standard deviation, in nats, of Gaussian noise on the sampler's logits of "
        "each drawn token, its reported log-prob included. Evaluation and audit sample without it.",
    )

    def without_noise(self) -> "SamplingConfig":
        """The same sampler without a dose of mismatch."""
        return self.model_copy(update={"weight_noise": 0.0, "logit_noise": 0.0})
