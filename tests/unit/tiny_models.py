"""Models of two layers with random weights and the embedded model's tokenizer, as other architectures store them."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

TINY = Path(__file__).parents[2] / "resources" / "tiny-arc"


def make_model(folder: Path, model_type: str, **config: Any) -> Path:
    """Write a model of this type; `config` is laid over the settings that all of them share."""
    sizes = {
        "vocab_size": 352,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 1536,
        "bos_token_id": 257,
        "eos_token_id": 258,
        "pad_token_id": 256,
        "tie_word_embeddings": model_type == "gemma2",  # vLLM's has no LM head of its own
    }
    if model_type == "phi3":
        del sizes["head_dim"]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **(sizes | config)))
    model.to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder)
    return folder
