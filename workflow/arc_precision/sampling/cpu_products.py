"""float16 matrix products in vLLM's CPU engine, computed in float32 and rounded once.

A GPU's tensor cores round the same way. CPUs without float16 arithmetic are far slower at a direct product.
`training.half_products` does the same in the trainer. The weights are held twice, in float16 and in float32.
"""

import torch
from torch.nn.functional import linear
from vllm.model_executor.layers import utils

_own_products = utils.dispatch_cpu_unquantized_gemm


def choose_products(layer: torch.nn.Module, remove_weight: bool) -> None:
    """Give a layer its product.

    It replaces vLLM's function of these arguments, which vLLM calls once a layer's weight (out, in) is loaded.
    """
    if layer.weight.dtype != torch.float16 or layer.weight.ndim != 2 or layer.weight.is_meta:
        _own_products(layer, remove_weight)
        return
    weight = layer.weight.float()

    def product(x: torch.Tensor, _: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return linear(x.float(), weight, None if bias is None else bias.float()).to(x.dtype)

    layer.cpu_linear = product


def use_float32_products() -> None:
    """Give these products to the layers of every engine that is built later."""
    utils.dispatch_cpu_unquantized_gemm = choose_products
