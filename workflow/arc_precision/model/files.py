"""The files that make up a Hugging Face model folder."""

import hashlib
from pathlib import Path


def weight_files(folder: Path) -> list[Path]:
    """Config and weights.

    Raises:
        ValueError: the folder is missing, or has no config.json or no weights.
    """
    if not folder.is_dir():
        raise ValueError(f"model.path: {folder} is not a folder; write the folder of a Hugging Face causal LM")
    if not (folder / "config.json").exists():
        raise ValueError(f"model.path: {folder} has no config.json; write the folder of a Hugging Face causal LM")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ValueError(f"model.path: {folder} has no *.safetensors; copy the model's weights there")
    extra = [folder / name for name in ("generation_config.json",) if (folder / name).exists()]
    return [folder / "config.json", *extra, *weights]


def tokenizer_files(folder: Path) -> list[Path]:
    """Tokenizer and chat template.

    Raises:
        ValueError: the folder has no tokenizer.
    """
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
    files = [folder / name for name in names if (folder / name).exists()]
    if not files:
        raise ValueError(f"model.path: {folder} has no tokenizer.json; copy the model's tokenizer there")
    return files


def write_checksums(folder: Path) -> None:
    """Write `SHA256SUMS` of every other file in the folder, as `sha256sum --check` reads it."""
    files = sorted(path for path in folder.iterdir() if path.name not in ("SHA256SUMS", "README.md"))
    lines = [f"{_sha256(file)}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
