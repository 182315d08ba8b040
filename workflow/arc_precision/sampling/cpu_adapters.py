"""LoRA in vLLM's CPU engine, one matrix product per adapter.

vLLM 0.31 on a CPU copies an adapter's matrices once per token before it multiplies, because tokens of one batch may
belong to different adapters. Here the tokens of an adapter are multiplied together. The casts and their order are the
same as in vLLM: the inputs and A are cast to float32 and scaled, then the result and B to the output's dtype.
"""

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms import current_platform


class GroupedAdaptersWrapper(PunicaWrapperCPU):
    """vLLM's CPU wrapper with its two products replaced. `w_t_all` has shape (adapter slots, 1, out, in)."""

    def update_metadata(self, mapping, lora_index_to_id, max_loras, vocab_size, **kwargs) -> None:
        """Called by vLLM before each forward pass, with the adapter of every token."""
        super().update_metadata(mapping, lora_index_to_id, max_loras, vocab_size, **kwargs)
        self._groups = token_groups(self.token_lora_indices)

    def _apply_shrink(self, y: torch.Tensor, x: torch.Tensor, w_t_all: torch.Tensor, scale: float) -> None:
        for slot, rows in self._groups:
            y[rows, : w_t_all.shape[-2]] = scale * (x[rows].to(y.dtype) @ w_t_all[slot, 0].to(y.dtype).T)

    def _apply_expand(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        w_t_all: torch.Tensor,
        y_offset: int,
        y_slice_size: int,
        add_inputs: bool = True,
    ) -> None:
        columns = slice(y_offset, y_offset + y_slice_size)
        for slot, rows in self._groups:
            # Like a half-precision product with float32 sums: computed in float32 and rounded once. Far faster on a
            # CPU.
            product = (x[rows].to(y.dtype).float() @ w_t_all[slot, 0].to(y.dtype).float().T).to(y.dtype)
            if add_inputs:
                y[rows, columns] += product
            else:
                y[rows, columns] = product


def token_groups(slots: torch.Tensor) -> list[tuple[int, slice | torch.Tensor]]:
    """Adapter slots of tokens (T,), -1 for none, as (slot, its tokens): a slice of neighbours, else their numbers.

    Neighbours are the usual case, because requests arrive adapter by adapter. A slice copies nothing.
    """
    groups: list[tuple[int, slice | torch.Tensor]] = []
    for slot in slots.unique().tolist():
        if slot < 0:
            continue
        rows = (slots == slot).nonzero()[:, 0]
        first, last = rows[0].item(), rows[-1].item()
        groups.append((slot, slice(first, last + 1) if last - first + 1 == len(rows) else rows))
    return groups


def use_grouped_adapters() -> None:
    """Make vLLM's CPU platform use the wrapper. Call it before an engine is built."""
    name = f"{GroupedAdaptersWrapper.__module__}.{GroupedAdaptersWrapper.__qualname__}"
    type(current_platform).get_punica_wrapper = classmethod(lambda cls: name)
