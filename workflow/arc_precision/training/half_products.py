"""float16 matrix products on a CPU: computed in float32 and rounded once.

A float16 product with float32 sums gives the same values, on a GPU's tensor cores and on a CPU. CPUs without float16
arithmetic compute that product many times more slowly.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default)


class Float32Products(TorchDispatchMode):
    """While active, float16 `mm`, `addmm` and `bmm` run in float32 and give float16."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in PRODUCTS and args[-1].dtype == torch.float16:
            return func(*(arg.float() for arg in args), **(kwargs or {})).half()
        return func(*args, **(kwargs or {}))
