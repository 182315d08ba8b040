"""The model that is trained, as training and audit load it."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel


def load_base(path: Path, dtype: str, load_in_4bit: bool) -> PreTrainedModel:
    """A model in `dtype`, or in 4 bits and computed in that dtype."""
    quantization = None
    if load_in_4bit:
        from transformers import BitsAndBytesConfig

        quantization = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, dtype)
        )
    # transformers' default attention ignores soft-capping.
    capped = getattr(AutoConfig.from_pretrained(path).get_text_config(), "attn_logit_softcapping", None)
    return AutoModelForCausalLM.from_pretrained(
        path,
        dtype=getattr(torch, dtype),
        quantization_config=quantization,
        attn_implementation="eager" if capped else None,
    )
