"""Products of tokens grouped by adapter equal those per token."""

import pytest
import torch

from arc_precision.sampling.cpu_adapters import GroupedAdaptersWrapper, token_groups

SLOTS = {
    "one adapter": [0] * 6,
    "neighbours": [0, 0, 1, 1, 1, 2],
    "mixed": [2, 0, 1, 0, 2, 1],
    "some without": [-1, 1, 1, -1, 0, -1],
    "none": [-1] * 6,
}


@pytest.mark.parametrize("slots", SLOTS.values(), ids=SLOTS.keys())
def test_each_token_has_the_product_of_its_own_adapter(slots):
    generator = torch.Generator().manual_seed(0)
    x, a, b = (torch.randn(shape, generator=generator) for shape in ((6, 5), (3, 1, 2, 5), (3, 1, 4, 2)))
    wrapper = GroupedAdaptersWrapper.__new__(GroupedAdaptersWrapper)
    wrapper._groups = token_groups(torch.tensor(slots))
    inner, y = torch.zeros(6, 2), torch.ones(6, 7)
    wrapper._apply_shrink(inner, x, a, 0.5)
    wrapper._apply_expand(y, inner, b, y_offset=2, y_slice_size=4)
    expected = torch.ones(6, 7)
    for token, slot in enumerate(slots):
        if slot >= 0:
            expected[token, 2:6] += b[slot, 0] @ (0.5 * (a[slot, 0] @ x[token]))
    torch.testing.assert_close(y, expected)


def test_tokens_side_by_side_are_a_slice():
    assert token_groups(torch.tensor([1, 1, 0])) == [(0, slice(2, 3)), (1, slice(0, 2))]
