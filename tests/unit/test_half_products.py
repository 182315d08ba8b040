"""float16 products on a CPU equal those of the native kernels."""

import torch

from arc_precision.training.half_products import Float32Products


def test_values_and_gradients_are_the_native_ones_up_to_one_rounding():
    torch.manual_seed(0)
    a = torch.randn(64, 96).half().requires_grad_()
    b = torch.randn(96, 32).half().requires_grad_()
    native = a @ b
    native.float().square().sum().backward()
    expected = [tensor.grad.clone() for tensor in (a, b)]
    a.grad = b.grad = None
    with Float32Products():
        ours = a @ b
        ours.float().square().sum().backward()
    assert ours.dtype == torch.float16
    exact = a.detach().double() @ b.detach().double()
    spacing = 2.0**-10  # of float16, relative
    torch.testing.assert_close(ours.double(), exact, rtol=spacing, atol=spacing)
    torch.testing.assert_close(native.double(), exact, rtol=spacing, atol=spacing)
    for tensor, gradient in zip((a, b), expected, strict=True):
        assert (tensor.grad.float() - gradient.float()).norm() < 2e-3 * gradient.float().norm()


def test_other_dtypes_are_left_alone():
    a = torch.randn(8, 8, dtype=torch.bfloat16)
    expected = a @ a
    with Float32Products():
        assert torch.equal(a @ a, expected)
