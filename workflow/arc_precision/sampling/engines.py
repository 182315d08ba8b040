"""Samplers draw completions and report the log-probability of every token they drew.

Both samplers take token ids and one seed per completion, so what is drawn depends on the seeds and the weights, never
on the state of a random generator.

Not covered: prompts with images, several models in one process (vLLM allows one engine per process).
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from arc_precision.config.sampling import SamplingConfig


@dataclass(frozen=True)
class Completion:
    """One drawn completion: token ids (T,), their log-probs (T,) in nats, and whether it was cut at the limit."""

    token_ids: list[int]
    logprobs: list[float]
    truncated: bool


@dataclass(frozen=True)
class EngineMemory:
    """A GPU's memory for vLLM: a share of it, 0 to 1, or a number of bytes beside its weights and buffers."""

    gpu_share: float
    kv_cache_bytes: int | None = None

    @staticmethod
    def add_arguments(parser: ArgumentParser, percent: int = 85) -> None:
        """The command line of scripts that start an engine; `percent` is the default share."""
        parser.add_argument("--gpu-memory-percent", type=int, default=percent, help="share of the GPU's memory")
        parser.add_argument("--kv-cache-mb", type=int, help="memory of vLLM's keys and values, in place of the share")

    @classmethod
    def of(cls, args: Namespace) -> "EngineMemory":
        """The memory that the command line asks for."""
        return cls(args.gpu_memory_percent / 100, args.kv_cache_mb and args.kv_cache_mb * 2**20)


class Sampler(Protocol):
    """The interface of both samplers."""

    dtype: torch.dtype
    observed: dict[str, Any]  # what is in effect, as `vllm_sampler.engine_facts` describes it

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], slots: Sequence[int] | None = None
    ) -> list[Completion]:
        """Draw one completion per prompt (token ids) with its own seed, in order; `slots`: adapter of each, None: 0."""

    def prompt_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Log-probs (T - 1,) of every token but the first of each sequence (T,), computed in one prefill.

        They are those of the plain logits: temperature, truncation and penalties do not enter.
        """

    def load_weights(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        """Replace the model's weights; names are those of the model's files. For samplers built without adapters."""

    def load_adapter(self, folder: Path, slot: int = 0) -> None:
        """Sample with the PEFT adapter saved in this folder from now on, where a prompt asks for this slot."""


def make_sampler(
    sampling: SamplingConfig,
    model_path: str,
    dtype: str,
    device: str,
    max_prompt_tokens: int,
    memory: EngineMemory,
    lora_r: int = 0,
    lora_modules: Sequence[str] | None = None,
    n_adapters: int = 1,
) -> Sampler:
    """The configured sampler over a base model in `dtype`.

    Args:
        lora_r: rank of the adapters that will be loaded; 0 when there will be none.
        lora_modules: layers that adapters may change; None: any. `prompt_logprobs` with an adapter needs them, as vLLM
            cannot compute it where the LM head may carry one.
        n_adapters: adapters that are used in one batch, in slots 0, 1, ... Several need vLLM.
    """
    # An engine that is not used is not imported.
    if sampling.engine == "vllm":
        from arc_precision.sampling.vllm_sampler import VllmSampler

        return VllmSampler(
            sampling, model_path, dtype, device, max_prompt_tokens, memory, lora_r, lora_modules, n_adapters
        )
    from arc_precision.sampling.transformers_sampler import TransformersSampler

    return TransformersSampler(sampling, model_path, dtype, device)


def dtype_names(dtypes: set[torch.dtype]) -> str:
    """Such as `bfloat16, float8_e4m3fn`."""
    return ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))


def completion_seed(*parts: int) -> int:
    """A 31-bit seed from run seed, step and row: the same parts give the same completion in any job."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0] >> 1)
