"""The sampler's side of the audit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM

from arc_precision.audit.audited import Audited, batches
from arc_precision.config.sampling import SamplingConfig
from arc_precision.sampling.engines import EngineMemory, Sampler, make_sampler
from arc_precision.sampling.handover import whole_weights
from arc_precision.training.base_model import is_whole, load_base


def audit_sampler(
    sampling: SamplingConfig,
    model: Path,
    checkpoint: Path,
    merged: bool,
    dtype: str,
    device: str,
    max_prompt_tokens: int,
    memory: EngineMemory,
) -> Sampler:
    """The sampler of a checkpoint: its adapter beside the base model or merged into it, or the whole model.

    `max_prompt_tokens` is that of the audited prompts; see `arc_precision.sampling.engines.make_sampler` for the rest.
    """
    # One more than a completion at the limit: for prompt log-probs the engine must be free to draw a token.
    limit = max_prompt_tokens + 1
    if is_whole(checkpoint):
        sampler = make_sampler(sampling, str(model), dtype, device, limit, memory)
        sampler.load_weights(whole_weights(load_base(checkpoint, "float32", False), sampler.dtype))
    elif merged:
        sampler = make_sampler(sampling, str(model), dtype, device, limit, memory)
        stored = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
        sampler.load_weights(whole_weights(PeftModel.from_pretrained(stored, checkpoint), sampler.dtype))
    else:
        lora = PeftConfig.from_pretrained(checkpoint)
        modules = sorted(lora.target_modules)
        sampler = make_sampler(sampling, str(model), dtype, device, limit, memory, lora.r, modules)
        sampler.load_adapter(checkpoint)
    return sampler


def prefill_logprobs(sampler: Sampler, completions: Sequence[Audited], batch_size: int) -> list[np.ndarray]:
    """The sampler's log-probs (T,) of each completion, `batch_size` sequences computed at once."""
    logprobs = []
    for batch in batches(completions, batch_size):
        scored = sampler.prompt_logprobs([c.prompt_ids + c.token_ids for c in batch])
        logprobs += [values[-len(c.token_ids) :] for c, values in zip(batch, scored, strict=True)]
    return logprobs
