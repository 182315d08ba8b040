"""How completions are drawn."""

from typing import Annotated, Literal

from pydantic import Field

from arc_precision.config.base import Head, Section


class SamplingConfig(Section):
    """The sampler's distribution and engine, in training and in evaluation."""

    engine: Literal["vllm", "transformers"] = Field(
        "vllm", description="`vllm` in process, or the plain generation of `transformers`, which does without vLLM."
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
        1.0,
        gt=0,
        description="1: none. It changes the sampled distribution but not the trained one; flagged in the report.",
    )
    max_completion_tokens: int = Field(48, gt=0, description="A completion is cut here and counts as truncated.")
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Texts that end a completion. They stay in it, and it does not count as truncated."
    )
    decoding: Literal["eager", "graphs", "compiled"] = Field(
        "graphs",
        description="How vLLM decodes on a GPU: `graphs` replays CUDA graphs that it captures at its start, `compiled` "
        "compiles the model as well, which takes longer to start, `eager` does neither. Always eager on a CPU.",
    )
    prefix_caching: bool = Field(True, description="vLLM keeps the keys and values of a prompt for its whole group.")
    head_dtype: Head = Field(
        "model",
        description="The LM head's product: in the sampler's dtype, which rounds the logits, or in float32. Set "
        "training.head_dtype alike. Evaluation samples with `model`.",
    )
    quantization: Literal["none", "fp8"] = Field(
        "none",
        description="fp8: vLLM multiplies in float8, with weights that it quantizes as it loads them; LM head and "
        "adapter stay as they are. GPUs alone. Evaluation samples without.",
    )
    kv_cache_dtype: Literal["auto", "fp8"] = Field(
        "auto",
        description="fp8: vLLM keeps keys and values in float8; auto: in the sampler's dtype. GPUs alone. Evaluation "
        "samples with `auto`.",
    )
    batch_invariant: bool = Field(
        False,
        description="vLLM's kernels whose log-probs do not depend on the rest of the batch; slower. GPUs of "
        "compute capability 8.0 or more alone. Evaluation samples without.",
    )
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

    @property
    def in_float8(self) -> bool:
        """Whether weights, or keys and values, are in float8."""
        return self.quantization == "fp8" or self.kv_cache_dtype == "fp8"

    def without_noise(self) -> "SamplingConfig":
        """The same sampler without a dose of mismatch."""
        return self.model_copy(update={"weight_noise": 0.0, "logit_noise": 0.0})
