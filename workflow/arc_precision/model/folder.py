"""The files of a Hugging Face model folder, and the facts in their headers. Plain Python, because planning needs it."""

import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from arc_precision.contracts.whole import DamagedFile, read_object

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
# A checkpoint has one of the two: an adapter or, with full fine-tuning, the model.
ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
WHOLE = (WEIGHTS, "config.json")
# Where a tokenizer's vocabulary may be, the fast form first; and all files that transformers' tokenizers read.
VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.model",
    "sentencepiece.bpe.model",
    "prophetnet.tokenizer",
    "tekken.json",
)
TOKENIZER = (
    *VOCABULARIES,
    *("merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"),
    *("chat_template.jinja", "chat_template.json"),
    *("emoji.json", "normalizer.json", "source.spm", "target.spm", "target_vocab.json"),
    *("word_pronunciation.json", "word_shape.json"),
)
# Where a config has its context length, and the types of what plans read of it.
CONTEXT_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
CONFIG_TYPES = {
    "architectures": list,
    "text_config": dict,
    "model_type": str,
    "layer_types": list,
    "rope_scaling": dict,
    "rope_parameters": dict,
    **dict.fromkeys(("sliding_window", "model_max_length", *CONTEXT_KEYS), int | float),
}
TYPE_NAMES = {list: "a list of texts", dict: "an object", str: "text", int | float: "a number"}


def weight_files(folder: Path) -> list[Path]:
    """The config and the weights that the model names. Trainer and sampler read these files.

    Raises:
        ValueError: the folder is missing or is not one of a causal language model, a file is missing or broken off, or
            there are weights beside those of the model.
    """
    if not os.path.isdir(folder):
        raise ValueError(
            f"model.path: {str(folder):.200} is not a folder; write the folder of a Hugging Face causal LM, or its id, "
            "ORG/NAME"
        )
    if not (folder / "config.json").exists():
        raise ValueError(f"model.path: {folder} has no config.json; write the folder of a Hugging Face causal LM")
    config = read_config(folder)
    extra = [folder / name for name in ("generation_config.json", WEIGHTS_INDEX) if (folder / name).exists()]
    for path in extra:
        read_json(path)
    weights = _weights(folder)
    # vLLM reads every *.safetensors, or consolidated* in their place; transformers lays an adapter over the model.
    others = {*folder.glob("*.safetensors"), *(folder / name for name in ADAPTER)} - set(weights)
    if strays := sorted(path.name for path in others if path.exists()):
        raise ValueError(
            f"model.path: {folder} holds {', '.join(strays)} beside the weights that the model names, and vLLM or "
            "transformers would read them; move them out of the model's folder"
        )
    architectures = config.get("architectures") or []
    if not any(name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for name in architectures):
        raise ValueError(
            f"model.path: {folder / 'config.json'} has architectures {architectures}, none of which is a causal LM; "
            "write the folder of a causal LM"
        )
    for path in weights:
        tensor_shapes(path)
    return [folder / "config.json", *extra, *weights]


def tokenizer_files(folder: Path) -> list[Path]:
    """Tokenizer and chat template, as transformers looks for them.

    Raises:
        ValueError: the folder has no tokenizer, or a file of it is not whole.
    """
    files = [folder / name for name in TOKENIZER if (folder / name).exists()]
    if not any(path.name in VOCABULARIES for path in files):
        raise ValueError(
            f"model.path: {folder} has no tokenizer ({', '.join(VOCABULARIES[:4])}); copy the model's tokenizer there"
        )
    for path in files:
        if path.suffix == ".json":
            content = read_json(path)
            if path.name == "tokenizer.json" and not _is_tokenizer(content):
                raise ValueError(
                    f"model.path: {path} holds no tokenizer (no proper `model` or `added_tokens`); copy it anew"
                )
    return files


def _is_tokenizer(content: dict[str, Any]) -> bool:
    added = content.get("added_tokens", [])
    proper = isinstance(added, list) and all(isinstance(token, dict) and "content" in token for token in added)
    return isinstance(content.get("model"), dict) and proper


def write_checksums(folder: Path) -> None:
    """Write `SHA256SUMS` of every other file in the folder, as `sha256sum --check` reads it."""
    files = sorted(path for path in folder.iterdir() if path.name not in ("SHA256SUMS", "README.md"))
    lines = [f"{_sha256(file)}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model. For a model of images and text, the part about text is laid over the rest.

    Raises:
        ValueError: the file is not whole, or has a value of another type for a key that plans read.
    """
    path = folder / "config.json"
    config = _typed(read_json(path), path)
    merged = config | (config.get("text_config") or {}) | {"architectures": config.get("architectures")}
    return _typed(merged, path)


def _typed(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The config, once what plans read of it is known to be of its type."""
    for key, wanted in CONFIG_TYPES.items():
        value = config.get(key)
        no_texts = isinstance(value, list) and not all(isinstance(each, str) for each in value)
        if value is not None and (no_texts or not isinstance(value, wanted)):
            raise ValueError(
                f"model.path: {path} has {json.dumps(value):.80} for {key}, where {TYPE_NAMES[wanted]} belongs; copy "
                "the model's own there"
            )
    return config


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the model's folder.

    Raises:
        ValueError: the file holds no whole JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"model.path: {path} is not a whole JSON object; copy it anew")
    return content


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Shape of each tensor in a safetensors file of the model's folder.

    Raises:
        ValueError: the file is not as long as its header says, or has no header.
    """
    try:
        return _shapes(path)
    except ValueError as error:
        raise ValueError(f"model.path: {path} {error}; copy it anew") from None


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint holds a whole model, with weights in float32, and no adapter."""
    return (checkpoint / WEIGHTS).exists()


def trained_files(checkpoint: Path) -> tuple[str, str]:
    """Names of a checkpoint's files with the trained weights and their config."""
    return WHOLE if is_whole(checkpoint) else ADAPTER


def check_trained(checkpoint: Path) -> None:
    """Check that a checkpoint's adapter or model is whole, before a slow step reads it.

    Raises:
        DamagedFile: a file of it is not.
    """
    weights, config = (checkpoint / name for name in trained_files(checkpoint))
    read_object(config, None, ("architectures",) if is_whole(checkpoint) else ("r", "target_modules"))
    try:
        _shapes(weights)
    except ValueError as error:
        raise DamagedFile(weights, f"it {error}") from None


def checkpoint_folders(files: Iterable[Path]) -> list[Path]:
    """The folders of whole checkpoints, found by their files with trained weights, each once, in order.

    Raises:
        DamagedFile: a file of one is not as it was written.
    """
    folders = list(dict.fromkeys(file.parent for file in files))
    for folder in folders:
        check_trained(folder)
    return folders


def _shapes(path: Path) -> dict[str, list[int]]:
    """Shape of each tensor in a safetensors file, from its header; a ValueError describes the fault."""
    if not path.is_file():
        raise ValueError("is not a safetensors file")
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        try:
            header = json.loads(file.read(length)) if length < size else None
            tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
            shapes = {name: list(map(int, tensor["shape"])) for name, tensor in tensors.items()}
            end = 8 + length + max(tensor["data_offsets"][1] for tensor in tensors.values())
        except (ValueError, AttributeError, TypeError, KeyError):
            raise ValueError("is not a safetensors file") from None
    if size != end:
        raise ValueError(f"has {size} bytes where its header tells of {end}")
    return shapes


def count_parameters(files: Iterable[Path]) -> int:
    """Parameters in a model's safetensors files; shared parameters count once."""
    shapes = [shape for path in files if path.suffix == ".safetensors" for shape in tensor_shapes(path).values()]
    return sum(map(math.prod, shapes))


def _weights(folder: Path) -> list[Path]:
    whole, index = folder / WEIGHTS, folder / WEIGHTS_INDEX
    if whole.exists() and index.exists():
        raise ValueError(
            f"model.path: {folder} has both {WEIGHTS} and {WEIGHTS_INDEX}; remove the one that is not used"
        )
    if whole.exists():
        return [whole]
    if not index.exists():
        raise ValueError(
            f"model.path: {folder} has no {WEIGHTS} and no {WEIGHTS_INDEX}; copy the model's weights there"
        )
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"model.path: {index} has no weight_map; copy it anew")
    weights = sorted({folder / name for name in names.values()})
    for path in weights:
        if not path.exists():
            raise ValueError(f"model.path: {path} is missing, but {WEIGHTS_INDEX} names it; copy it there")
    return weights
