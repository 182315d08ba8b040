"""float16 matrix products in vLLM's CPU engine, computed in float32 and rounded once.

That is what a GPU's tensor cores give. CPUs without float16 arithmetic compute such a product directly ten times more
slowly. `training.half_products` does the same in the trainer.
"""

import torch
from torch.nn.functional import linear
from vllm.model_executor.layers import utils

_own_products = utils.dispatch_cpu_unquantized_gemm


def choose_products(layer: torch.nn.Module, remove_weight: bool) -> None:
    """In place of vLLM's function of the same arguments, which it calls for each layer after loading its weights."""
    if layer.weight.dtype != torch.float16 or layer.weight.ndim != 2 or layer.weight.is_meta:
        _own_products(layer, remove_weight)
        return
    weight = layer.weight.float()

    def product(x: torch.Tensor, _: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return linear(x.float(), weight, None if bias is None else bias.float()).to(x.dtype)

    layer.cpu_linear = product


def use_float32_products() -> None:
    """Make vLLM's layers multiply so. Call it before an engine is built."""
    utils.dispatch_cpu_unquantized_gemm = choose_products
