"""Whether transformers can load a model, known without reading its weights."""

from pathlib import Path

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging


def check_loading(folder: Path) -> None:
    """Build the model and its tokenizer, the weights by name and shape alone.

    Raises:
        ValueError: one sentence. transformers would make up weights that are missing, and that is no base model.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for what, load in (("config", AutoConfig), ("tokenizer", AutoTokenizer)):
        try:
            load.from_pretrained(folder)
        except Exception as error:  # faults of JSON, of tokenizers and of missing keys have many types
            raise ValueError(
                f"model.path: transformers cannot load the {what} of {folder}: {_one_line(error)}; write the "
                "folder of a model that it can load"
            ) from None
    try:
        _, info = AutoModelForCausalLM.from_pretrained(
            folder, device_map="meta", dtype="auto", output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:
        raise ValueError(
            f"model.path: transformers cannot load {folder}: {_one_line(error)}; write the folder of a model that "
            "it can load"
        ) from None
    if mismatched := sorted(info["mismatched_keys"]):
        name, stored, wanted = mismatched[0]
        raise ValueError(
            f"model.path: {name} of {folder} has shape {tuple(stored)} where its config.json makes it {tuple(wanted)}"
            f"{_and_more(mismatched)}; copy config.json and weights of one model there"
        )
    if missing := sorted(info["missing_keys"]):
        raise ValueError(
            f"model.path: the weights of {folder} lack {missing[0]}{_and_more(missing)}; copy config.json "
            "and weights of one model there"
        )


def _and_more(names: list) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")[:300]
