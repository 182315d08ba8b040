"""LoRA in vLLM's CPU engine, when every token uses the same adapter.

vLLM 0.31 on a CPU copies the adapter's matrices once per token before it multiplies, because tokens of one batch may
belong to different adapters. Here a batch has one adapter, so a plain matrix product does. Casts and their order are
vLLM's own: the inputs and A to float32, scaled; then the result and B to the output's dtype.
"""

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms import current_platform


class OneAdapterWrapper(PunicaWrapperCPU):
    """vLLM's CPU wrapper with its two products replaced. `w_t_all` has shape (1, 1, out, in): the only adapter slot."""

    def _apply_shrink(self, y: torch.Tensor, x: torch.Tensor, w_t_all: torch.Tensor, scale: float) -> None:
        y[:, : w_t_all.shape[-2]] = scale * (x.to(y.dtype) @ w_t_all[0, 0].to(y.dtype).T)

    def _apply_expand(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        w_t_all: torch.Tensor,
        y_offset: int,
        y_slice_size: int,
        add_inputs: bool = True,
    ) -> None:
        # In float32 and rounded once, as a half-precision product with float32 sums is; far faster on a CPU.
        product = (x.to(y.dtype).float() @ w_t_all[0, 0].to(y.dtype).float().T).to(y.dtype)
        if add_inputs:
            y[:, y_offset : y_offset + y_slice_size] += product
        else:
            y[:, y_offset : y_offset + y_slice_size] = product


def use_one_adapter() -> None:
    """Make vLLM's CPU platform use the wrapper. Call it before an engine is built with `max_loras` 1."""
    name = f"{OneAdapterWrapper.__module__}.{OneAdapterWrapper.__qualname__}"
    type(current_platform).get_punica_wrapper = classmethod(lambda cls: name)
