"""The sampler's side of the audit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM

from arc_precision.audit.audited import Audited, batches
from arc_precision.config.sampling import SamplingConfig
from arc_precision.model.folder import is_whole
from arc_precision.sampling.engines import EngineMemory, Sampler, make_sampler
from arc_precision.sampling.handover import whole_weights
from arc_precision.training.base_model import load_base


def audit_sampler(
    sampling: SamplingConfig,
    model: Path,
    checkpoint: Path,
    merged: bool | None,
    dtype: str,
    device: str,
    max_prompt_tokens: int,
    memory: EngineMemory,
) -> Sampler:
    """An engine for `load_checkpoint`; `checkpoint` stands for all that it will load, which are of one kind.

    `max_prompt_tokens` is that of the audited prompts; see `arc_precision.sampling.engines.make_sampler` for the rest.
    """
    # One token more than the longest completion: vLLM's prompt log-probs need room to draw a token.
    limit = max_prompt_tokens + 1
    if merged or is_whole(checkpoint):
        sampler = make_sampler(sampling, str(model), dtype, device, limit, memory)
    else:
        lora = PeftConfig.from_pretrained(checkpoint)
        modules = sorted(lora.target_modules)
        sampler = make_sampler(sampling, str(model), dtype, device, limit, memory, lora.r, modules)
    return sampler


def load_checkpoint(sampler: Sampler, model: Path, checkpoint: Path, merged: bool | None) -> None:
    """Load this checkpoint: its adapter beside the base model or merged into it, or the whole model.

    Merged and whole weights are rounded to the sampler's dtype.
    """
    if is_whole(checkpoint):
        sampler.load_weights(whole_weights(load_base(checkpoint, "float32", False), sampler.dtype))
    elif merged:
        stored = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
        sampler.load_weights(whole_weights(PeftModel.from_pretrained(stored, checkpoint), sampler.dtype))
    else:
        sampler.load_adapter(checkpoint)


def prefill_logprobs(sampler: Sampler, completions: Sequence[Audited], batch_size: int) -> list[np.ndarray]:
    """The sampler's log-probs (T,) of each completion, `batch_size` sequences computed at once."""
    logprobs = []
    for batch in batches(completions, batch_size):
        scored = sampler.prompt_logprobs([c.prompt_ids + c.token_ids for c in batch])
        logprobs += [values[-len(c.token_ids) :] for c, values in zip(batch, scored, strict=True)]
    return logprobs
