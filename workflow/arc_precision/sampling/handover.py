"""How the trainer's weights reach a sampler: as an adapter, or as weights of the whole model.

Full fine-tuning trains the whole model. For an adapter, the whole model is the base with the adapter merged in; this
way exists because the effect of merging is to be measured.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import PreTrainedModel

from arc_precision.sampling.engines import Sampler, completion_seed


class AdapterHandover:
    """Hands the trainer's adapter to the sampler through a folder in memory-backed storage where there is one.

    Args:
        noise: standard deviation of the noise on the sampler's LoRA B.
        seed: the run's; with the step it decides the noise.
    """

    def __init__(self, sampler: Sampler, noise: float = 0.0, seed: int = 0) -> None:
        shared_memory = Path("/dev/shm")
        self._sampler = sampler
        self._noise, self._seed = noise, seed
        self._folder = tempfile.TemporaryDirectory(
            prefix="adapter-", dir=shared_memory if shared_memory.is_dir() else None
        )
        self._n = 0

    def sync(self, model, step: int) -> None:
        """Give the PEFT model's current adapter to the sampler, under a path never used before."""
        self._n += 1
        folder = Path(self._folder.name) / str(self._n)
        noisy = noisy_adapter(model, self._noise, completion_seed(self._seed, step)) if self._noise else None
        # What `model.save_pretrained` does, without the model card, which takes most of its time.
        model.peft_config["default"].save_pretrained(folder)
        weights = get_peft_model_state_dict(model, noisy, save_embedding_layers=False)
        save_file(weights, folder / "adapter_model.safetensors")
        self._sampler.load_adapter(folder)
        shutil.rmtree(folder)

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


class WholeHandover:
    """Hands over all weights, an adapter merged in, rounded to the sampler's dtype.

    TRL does the same, but it merges in place and back again. Here the trainer's weights are never written to, so they
    do not drift.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def sync(self, model, step: int) -> None:
        """Give the weights of a model, or base plus adapter of a PEFT model, to the sampler."""
        self._sampler.load_weights(whole_weights(model, self._sampler.dtype))

    def close(self) -> None:
        """Nothing to remove."""


@torch.no_grad()
def noisy_adapter(model, noise: float, seed: int) -> dict[str, torch.Tensor]:
    """Names and tensors of a PEFT model's adapter, with Gaussian noise of standard deviation `noise` on each LoRA B."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, weight in model.named_parameters():
        if ".lora_" not in name:
            continue
        if ".lora_B." in name:
            # Drawn on the CPU, so that every process and every device adds the same noise.
            weight = weight + noise * torch.randn(weight.shape, generator=generator).to(weight)
        weights[name] = weight
    return weights


@torch.no_grad()
def whole_weights(model: PreTrainedModel | PeftModel, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors of a model, an adapter added in float32, rounded to `dtype` once."""
    base = model.base_model.model if isinstance(model, PeftModel) else model
    layers = {name: module for name, module in base.named_modules() if hasattr(module, "base_layer")}
    for name, weight in base.state_dict().items():
        if ".lora_" in name:
            continue
        layer = layers.get(name.removesuffix(".base_layer.weight"))
        if layer is not None:
            weight = weight.float() + layer.get_delta_weight("default").float()
        yield name.replace(".base_layer.", "."), weight.to(dtype)
