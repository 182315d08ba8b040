"""Facts about stored weights: dtypes, size, and whether a cast to float16 would change them."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

CACHED_VALUES = 2**18


def weight_facts(files: Iterable[Path]) -> dict[str, Any]:
    """Parameters per dtype, and the values that float16 cannot hold exactly, counted by casting each tensor.

    A bfloat16 value w survives the cast to float16 for 2^-17 <= |w| < 65504 (and 0); smaller ones lose bits or become
    0, larger ones overflow.
    """
    parameters: Counter[str] = Counter()
    inexact = overflow = 0
    for path in files:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():
                tensor = tensors.get_tensor(name)
                parameters[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
                wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
                # pieces that fit the processor's cache: eight billion parameters take seconds, not minutes
                for piece in tensor.flatten().split(CACHED_VALUES):
                    half = piece.to(torch.float16)
                    overflow += int(torch.isinf(half).sum())
                    inexact += int((half.to(wide) != piece.to(wide)).sum())
    return {
        "parameters": sum(parameters.values()),
        "parameters_by_dtype": dict(sorted(parameters.items())),
        "float16_inexact": inexact,
        "float16_overflow": overflow,
    }
