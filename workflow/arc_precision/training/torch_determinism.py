"""PyTorch's deterministic algorithms."""

import os

import torch


def use_deterministic_algorithms() -> None:
    """From now on equal inputs give equal bits in this process, or an error. Call this before the first work on a GPU.

    cuBLAS is deterministic only with a workspace of a fixed size, and it reads that size from the environment once.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
