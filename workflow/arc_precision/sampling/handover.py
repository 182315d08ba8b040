"""How the trainer's weights reach a sampler: as an adapter, or merged into the base.

Merging is there because its effect is one of the things to measure.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from arc_precision.sampling.engines import Sampler, VllmSampler


class AdapterHandover:
    """Hands the trainer's adapter to the sampler through a folder in memory-backed storage where there is one."""

    def __init__(self, sampler: Sampler) -> None:
        shared_memory = Path("/dev/shm")
        self._sampler = sampler
        self._folder = tempfile.TemporaryDirectory(
            prefix="adapter-", dir=shared_memory if shared_memory.is_dir() else None
        )
        self._n = 0

    def sync(self, model) -> None:
        """Give the PEFT model's current adapter to the sampler, under a path never used before."""
        self._n += 1
        folder = Path(self._folder.name) / str(self._n)
        model.save_pretrained(folder)
        self._sampler.load_adapter(folder)
        shutil.rmtree(folder)

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


class MergedHandover:
    """Hands over base weights with the adapter merged in, rounded to the sampler's dtype.

    TRL's own way, except that the trainer's base is never written to, so that it does not drift: every sync starts from
    the stored weights. vLLM only.
    """

    def __init__(self, sampler: VllmSampler) -> None:
        self._sampler = sampler

    def sync(self, model) -> None:
        """Give base plus adapter of a PEFT model to the sampler."""
        self._sampler.load_weights(merged_weights(model, self._sampler.dtype))

    def close(self) -> None:
        """Nothing to remove."""


@torch.no_grad()
def merged_weights(model, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors of the base model with the adapter added in float32 and rounded to `dtype` once."""
    layers = {name: module for name, module in model.base_model.model.named_modules() if hasattr(module, "base_layer")}
    for name, weight in model.base_model.model.state_dict().items():
        if ".lora_" in name:
            continue
        layer = layers.get(name.removesuffix(".base_layer.weight"))
        if layer is not None:
            weight = weight.float() + layer.get_delta_weight("default").float()
        yield name.replace(".base_layer.", "."), weight.to(dtype)
