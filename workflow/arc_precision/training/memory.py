"""GPU memory that full fine-tuning takes beside activations and vLLM, known before a model is loaded."""

from arc_precision.config.training import TrainSlice
from arc_precision.sampling.engines import EngineMemory

GIB = 2**30
# Bytes of a parameter: weight and gradient in float32, and AdamW's two moments in float32 or 8 bits.
ADAMW_BYTES = {"adamw_torch": 4 + 4 + 8, "adamw_8bit": 4 + 4 + 2}
REFERENCE_BYTES = 4
SAMPLER_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def check_fits(slice: TrainSlice, n_parameters: int, gpu_bytes: int, memory: EngineMemory) -> None:
    """Raise ValueError if full fine-tuning of this number of parameters cannot fit a GPU of this number of bytes."""
    training = slice.training
    each = ADAMW_BYTES[training.optim] + (REFERENCE_BYTES if training.beta else 0)
    if memory.kv_cache_bytes is None:
        sampler = memory.gpu_share * gpu_bytes
    else:
        sampler = memory.kv_cache_bytes + SAMPLER_BYTES[slice.sampler_dtype] * n_parameters
    if each * n_parameters + sampler > gpu_bytes:
        raise ValueError(
            f"training.lora: null needs {each * n_parameters / GIB:.1f} GiB for {n_parameters / 1e9:.2f} billion "
            f"parameters, {each} bytes each, beside {sampler / GIB:.1f} GiB of vLLM, where a GPU has "
            f"{gpu_bytes / GIB:.1f}; write an adapter under training.lora, or take a smaller model: a larger one would "
            "take weights and optimizer sharded over GPUs (FSDP or ZeRO), and training.processes repeats them on each"
        )
