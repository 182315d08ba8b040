"""The sampler's side of the audit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM

from arc_precision.audit.audited import Audited, batches
from arc_precision.config.sampling import SamplingConfig
from arc_precision.sampling.engines import EngineMemory, Sampler, make_sampler
from arc_precision.sampling.handover import merged_weights


def audit_sampler(
    sampling: SamplingConfig,
    model: Path,
    adapter: Path,
    merged: bool,
    dtype: str,
    device: str,
    max_prompt_tokens: int,
    memory: EngineMemory,
) -> Sampler:
    """An engine for `load_checkpoint`; `adapter` is one of those that it will load.

    `max_prompt_tokens` is that of the audited prompts; see `arc_precision.sampling.engines.make_sampler` for the rest.
    """
    # One more than a completion at the limit: for prompt log-probs the engine must be free to draw a token.
    limit = max_prompt_tokens + 1
    if merged:
        sampler = make_sampler(sampling, str(model), dtype, device, limit, memory)
    else:
        lora = PeftConfig.from_pretrained(adapter)
        modules = sorted(lora.target_modules)
        sampler = make_sampler(sampling, str(model), dtype, device, limit, memory, lora.r, modules)
    return sampler


def load_checkpoint(sampler: Sampler, model: Path, adapter: Path, merged: bool) -> None:
    """Go on with this adapter, beside the base model or merged into the base's weights in the sampler's dtype."""
    if merged:
        stored = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
        sampler.load_weights(merged_weights(PeftModel.from_pretrained(stored, adapter), sampler.dtype))
    else:
        sampler.load_adapter(adapter)


def prefill_logprobs(sampler: Sampler, completions: Sequence[Audited], batch_size: int) -> list[np.ndarray]:
    """The sampler's log-probs (T,) of each completion, `batch_size` sequences computed at once."""
    logprobs = []
    for batch in batches(completions, batch_size):
        scored = sampler.prompt_logprobs([c.prompt_ids + c.token_ids for c in batch])
        logprobs += [values[-len(c.token_ids) :] for c, values in zip(batch, scored, strict=True)]
    return logprobs
