"""Prompt templates as files: the workflow's own, by name, and the user's. Plain Python, because planning needs it."""

import os
from pathlib import Path

from arc_precision.config.sentences import listed

ROOT = Path(__file__).parents[2]
PROMPTS = "resources/prompts"


def prompt_file(prompt: str, base: Path = ROOT) -> Path:
    """The template that a name or a path stands for; a path is relative to the working directory or else to `base`.

    Args:
        base: the clone that names are looked for in.

    Raises:
        ValueError: there is none.
    """
    names = sorted(path.stem for path in (base / PROMPTS).glob("*.jinja"))
    possible = [base / PROMPTS / f"{prompt}.jinja"] if prompt in names else [Path(prompt), base / prompt]
    for path in possible:
        if os.path.isfile(path):
            return path
    raise ValueError(
        f"model.prompt: {prompt!r:.200} is neither a prompt of this workflow nor a file; write {listed(names, 'or')}, "
        "or the path of a Jinja template"
    )
