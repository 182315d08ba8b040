"""A GGUF file as a Hugging Face model folder."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from arc_precision.model.folder import write_checksums

# Keys of the config that transformers reads from a GGUF: these describe the file and not the model.
_OF_THE_FILE = ("transformers_version", "dtype", "architectures", "quantization_config", "_name_or_path")


def convert_gguf(gguf: Path, end_token: str, folder: Path) -> None:
    """Write the dequantised model in bfloat16, its tokenizer, its chat template and `SHA256SUMS`.

    Needs the package `gguf`.

    Args:
        gguf: The file.
        end_token: Token that ends a turn of the chat. It becomes the end and the padding token, because a GGUF's own
            metadata may name the token that begins a turn.
        folder: Folder to write.

    Raises:
        ValueError: the tokenizer does not know the end token.
    """
    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    if end_token not in tokenizer.get_vocab():
        raise ValueError(f"--end-token: {gguf.name} has no token {end_token!r}; write the one that ends a turn")
    quantized = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    settings = {k: v for k, v in quantized.config.to_dict().items() if k not in _OF_THE_FILE}
    end = tokenizer.convert_tokens_to_ids(end_token)
    settings.update(eos_token_id=end, pad_token_id=end)
    # transformers refuses to save a model that it dequantised, so a fresh one takes the weights.
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings))
    model.load_state_dict(quantized.state_dict())
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.eos_token = tokenizer.pad_token = end_token
    tokenizer.clean_up_tokenization_spaces = False  # decoding gives the text that was encoded
    tokenizer.save_pretrained(folder)
    write_checksums(folder)
