"""The settings in effect when a run starts, observed in the objects themselves, and compared with the configuration."""

from collections import Counter
from typing import Any

import torch

from arc_precision.config.training import TrainSlice
from arc_precision.sampling.engines import Sampler, dtype_names
from arc_precision.training.scoring import Scorer
from arc_precision.training.trainer import PrecisionTrainer


def observe(trainer: PrecisionTrainer, sampler: Sampler, scorer: Scorer) -> dict[str, Any]:
    """Dtypes of the model's weights, adapter, autocast and sampler, layers with an adapter, number of trained
    parameters, loss scaler, the sandbox's level, and the GPU.
    """
    parameters = dict(trainer.model.named_parameters())
    adapter = {p.dtype for name, p in parameters.items() if ".lora_" in name}
    base = {p.dtype for name, p in parameters.items() if ".lora_" not in name and p.is_floating_point()}
    device = trainer.accelerator.device.type
    with trainer.accelerator.autocast():
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    return {
        "trainer_dtype": dtype_names(base),
        "adapter_dtype": dtype_names(adapter) or None,
        "adapter_layers": adapter_layers(trainer.model),
        "autocast_dtype": dtype_names({autocast}) if autocast else None,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "sampler_dtype": dtype_names({sampler.dtype}),
        **{f"sampler_{fact}": value for fact, value in sampler.observed.items()},
        "trained_parameters": sum(p.numel() for p in parameters.values() if p.requires_grad),
        "loss_scaler": trainer.accelerator.scaler is not None,
        "isolation_level": scorer.isolation_level,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }


def adapter_layers(model: torch.nn.Module) -> dict[str, int]:
    """The number of layers with a trained adapter, by layer name."""
    carriers = (
        name.removesuffix(".lora_A.default").split(".")[-1]
        for name, part in model.named_modules()
        if name.endswith(".lora_A.default") and all(p.requires_grad for p in part.parameters())
    )
    return dict(sorted(Counter(carriers).items()))


def check_in_effect(slice: TrainSlice, observed: dict[str, Any]) -> None:
    """Raise ValueError if a setting in effect differs from the configured one."""
    lora = slice.training.lora
    for target in lora.target_modules if lora else ():
        if target.split(".")[-1] not in observed["adapter_layers"]:
            raise ValueError(
                f"training.lora.target_modules: no layer {target} carries an adapter; the adapter is in "
                f"{', '.join(observed['adapter_layers']) or 'no layer'}, so write those"
            )
    expected = {
        "trainer_dtype": slice.trainer_dtype if lora else "float32",
        "adapter_dtype": "float32" if lora else None,
        "autocast_dtype": None if slice.trainer_dtype == "float32" else slice.trainer_dtype,
        "deterministic": slice.training.deterministic,
        "sampler_dtype": slice.sampler_dtype,
        "sampler_head_dtype": "float32" if slice.sampling.head_dtype == "float32" else slice.sampler_dtype,
        "sampler_kv_cache_dtype": slice.sampling.kv_cache_dtype,
        "sampler_batch_invariant": slice.sampling.batch_invariant,
        "loss_scaler": slice.trainer_dtype == "float16",
    }
    if slice.load_in_4bit:
        del expected["trainer_dtype"]
    for fact, value in expected.items():
        if observed[fact] != value:
            raise ValueError(f"{fact}: {value} was asked for, but {observed[fact]} is in effect")
    matrices, quantization = observed["sampler_matrix_dtype"], slice.sampling.quantization
    if ("float8" in matrices) != (quantization == "fp8"):
        raise ValueError(f"sampling.quantization: {quantization} was asked for, but vLLM's matrices are in {matrices}")
