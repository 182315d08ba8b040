"""Models by their id on the Hugging Face Hub: found in its cache, or downloaded into it once.

The cache is read without the Hub's library, because the library may be missing where plans are made. A branch or tag
stays at the commit that the cache has for it: nothing here asks whether the Hub has a newer one.
"""

import os
import re
from pathlib import Path

from arc_precision.model.folder import TOKENIZER, VOCABULARIES, WEIGHTS, WEIGHTS_INDEX, read_json

_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(\w[\w./-]*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Files of a model that are read. Repositories often hold the same weights in other forms beside these.
DOWNLOADED = ("config.json", "generation_config.json", WEIGHTS_INDEX, "model*.safetensors", *TOKENIZER)


def is_id(path: str) -> bool:
    """Whether a model's path may be an id, `ORG/NAME` or `ORG/NAME@REVISION`."""
    return _ID.fullmatch(path) is not None and ".." not in path


def snapshot(path: str) -> tuple[Path, str]:
    """The folder of a model in the cache, and its id with the commit, `ORG/NAME@COMMIT`.

    Raises:
        ValueError: a file of it is not in the cache and cannot be downloaded; one sentence.
    """
    repository, revision = _ID.fullmatch(path).groups(default="main")
    in_cache = cache() / f"models--{repository.replace('/', '--')}"
    ref = in_cache / "refs" / revision
    if _COMMIT.fullmatch(revision):
        commit = revision
    else:
        commit = ref.read_text().strip() if ref.is_file() else None
    if commit is None or not _is_whole(in_cache / "snapshots" / commit):
        commit = _download(path, repository, commit or revision)
    return in_cache / "snapshots" / commit, f"{repository}@{commit}"


def cache() -> Path:
    """The folder in which huggingface_hub keeps its downloads."""
    environment = os.environ
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    folder = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    return Path(os.path.expandvars(folder)).expanduser()


def _is_whole(folder: Path) -> bool:
    """Whether a snapshot has config, weights and tokenizer; another program may have downloaded only a part."""
    weights = [WEIGHTS]
    if (folder / WEIGHTS_INDEX).exists():
        weights = [WEIGHTS_INDEX, *read_json(folder / WEIGHTS_INDEX).get("weight_map", {}).values()]
    needed = all((folder / name).exists() for name in ("config.json", *weights))
    return needed and any((folder / name).exists() for name in VOCABULARIES)


def _download(path: str, repository: str, revision: str) -> str:
    """Download the files that the cache lacks, and return the commit."""
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(DOWNLOADED))).name
    except ModuleNotFoundError:
        why = "huggingface_hub is not installed here"
    except Exception as error:  # the library, its network library and the disk raise errors of many types
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    raise ValueError(
        f"model.path: {path} is no folder, is not whole in the Hub's cache {cache()}, and cannot be downloaded: {why}; "
        f"write the folder of a model, or run `hf download {repository} --revision {revision}` where there is a network"
    )
