"""float16 products of vLLM's layers on a CPU are exact products, rounded once."""

import pytest
import torch
from vllm.model_executor.layers import utils

from arc_precision.sampling.cpu_products import use_float32_products


@pytest.fixture
def layer(monkeypatch):
    monkeypatch.setattr(utils, "dispatch_cpu_unquantized_gemm", utils.dispatch_cpu_unquantized_gemm)
    use_float32_products()
    torch.manual_seed(0)
    return torch.nn.Linear(96, 32).half()


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_rounded_once(layer, bias):
    utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    x, b = torch.randn(64, 96).half(), layer.bias if bias else None
    exact = x.double() @ layer.weight.double().T + (layer.bias.double() if bias else 0)
    ours = layer.cpu_linear(x, layer.weight, b)
    assert ours.dtype == torch.float16
    # The sums in float32 move a few values over the middle between two float16 numbers.
    assert (ours != exact.half()).double().mean() < 0.01
    torch.testing.assert_close(ours.double(), exact, rtol=2.0**-11 + 1e-5, atol=1e-6)


def test_other_dtypes_are_multiplied_by_vllm(layer):
    layer.float()
    utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=False)
    x = torch.randn(4, 96)
    torch.testing.assert_close(layer.cpu_linear(x, layer.weight, layer.bias), layer(x))
    assert layer.cpu_linear(x, layer.weight, layer.bias).dtype == torch.float32
