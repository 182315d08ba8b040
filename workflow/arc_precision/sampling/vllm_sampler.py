"""The sampler over vLLM, and what vLLM is told so that it computes what was asked for."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arc_precision.config.sampling import SamplingConfig
from arc_precision.sampling.engines import Completion, EngineMemory, dtype_names

# vLLM's settings for CUDA graphs of whole decoding steps, the model not compiled.
GRAPHS_ALONE = {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"}
MAX_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # ranks that vLLM's LoRAConfig accepts


def engine_environment(sampling: SamplingConfig, lora_r: int) -> dict[str, str]:
    """Variables for settings of vLLM that have no argument. They override those of the shell.

    The engine runs in process: no second copy of the environment, and it ends with the job. But batch-invariant
    kernels replace PyTorch's in the whole process, the trainer's too. So an engine that has them and takes adapters has
    a process of its own, which imports vLLM anew. Merged weights could not be handed over to it.
    """
    apart = sampling.batch_invariant and lora_r > 0
    return {
        "VLLM_BATCH_INVARIANT": str(int(sampling.batch_invariant)),
        "VLLM_ENABLE_V1_MULTIPROCESSING": str(int(apart)),
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_ALLOW_INSECURE_SERIALIZATION": str(int(apart)),  # `engine_facts` is sent to that process as a function
    }


def check_gpu(sampling: SamplingConfig, capability: tuple[int, int]) -> None:
    """Raise ValueError if a GPU of this compute capability lacks a configured feature."""
    needed = {
        "batch_invariant: true": (sampling.batch_invariant, (8, 0), "false"),
        "quantization: fp8": (sampling.quantization == "fp8", (8, 9), "none"),
        "kv_cache_dtype: fp8": (sampling.kv_cache_dtype == "fp8", (8, 9), "auto"),
    }
    for setting, (asked, least, instead) in needed.items():
        if asked and capability < least:
            raise ValueError(
                f"sampling.{setting} needs a GPU of compute capability {least[0]}.{least[1]} or more, and this one has "
                f"{capability[0]}.{capability[1]}; write {instead}"
            )


def format_arguments(sampling: SamplingConfig) -> dict[str, Any]:
    """vLLM's arguments for number formats beside its dtype."""
    arguments = {"kv_cache_dtype": sampling.kv_cache_dtype}
    if sampling.quantization != "none":
        arguments["quantization"] = sampling.quantization
    if sampling.head_dtype != "model":
        arguments["hf_overrides"] = {"head_dtype": sampling.head_dtype}
    return arguments


def has_head(model: torch.nn.Module) -> bool:
    """Whether vLLM's model has an LM head of its own. Those without take the embedding, and refuse a head by name."""
    return hasattr(model, "lm_head")


def engine_facts(model: torch.nn.Module) -> dict[str, Any]:
    """The settings in effect in vLLM's own process, seen in its model's parts.

    Dtypes of the LM head's logits, of matrices, and of keys and values as vLLM names them; whether kernels are those
    that do not depend on the batch.
    """
    from vllm import envs
    from vllm.model_executor.layers.logits_processor import LogitsProcessor

    matrices = {p.dtype for p in model.parameters() if p.dim() == 2}
    heads = {part.head_dtype for part in model.modules() if isinstance(part, LogitsProcessor)}
    caches = {part.kv_cache_dtype for part in model.modules() if hasattr(part, "kv_cache_dtype")}
    return {
        "head_dtype": dtype_names(heads),
        "matrix_dtype": dtype_names(matrices),
        "kv_cache_dtype": ", ".join(sorted(caches)),
        "batch_invariant": envs.VLLM_BATCH_INVARIANT,
    }


@contextmanager
def any_algorithm() -> Iterator[None]:
    """Lift PyTorch's demand for deterministic algorithms: vLLM uses some that have none, and brings its own instead."""
    demanded = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(demanded)


class VllmSampler:
    """vLLM in process."""

    def __init__(
        self,
        sampling: SamplingConfig,
        model_path: str,
        dtype: str,
        device: str,
        max_prompt_tokens: int,
        memory: EngineMemory,
        lora_r: int,
        lora_modules: Sequence[str] | None,
        n_adapters: int,
    ) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # vLLM would warn about deliberate choices made here
        os.environ |= engine_environment(sampling, lora_r)
        if device == "cuda":
            check_gpu(sampling, torch.cuda.get_device_capability())
        if device == "cpu":
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; the default wants most of the machine
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # two jobs would share one core
        from vllm import LLM, SamplingParams
        from vllm.lora.request import LoRARequest

        if device == "cpu":
            from arc_precision.sampling.cpu_adapters import use_grouped_adapters
            from arc_precision.sampling.cpu_products import use_float32_products

            use_grouped_adapters()
            use_float32_products()
        self._params, self._request = SamplingParams, LoRARequest
        self._sampling = sampling
        self._device = device
        max_model_tokens = max_prompt_tokens + sampling.max_completion_tokens
        extras = format_arguments(sampling)
        if sampling.logit_noise:
            from arc_precision.sampling.logit_noise import LogitNoise

            extras["logits_processors"] = [LogitNoise]
        if lora_r:
            extras |= {
                "enable_lora": True,
                "max_lora_rank": next(r for r in MAX_LORA_RANKS if r >= lora_r),
                "max_loras": n_adapters,
                "lora_target_modules": list(lora_modules) if lora_modules else None,
            }
        if device == "cpu":
            # A prompt split over two steps rewinds its request's generator, which CPU generators cannot do.
            hardware = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(8192, max_model_tokens)}
        else:
            # With a share vLLM measures the free memory, which fails if another process on the GPU ends meanwhile.
            hardware = (
                {"gpu_memory_utilization": memory.gpu_share}
                if memory.kv_cache_bytes is None
                else {"gpu_memory_utilization": 0.01, "kv_cache_memory_bytes": memory.kv_cache_bytes}
            )
        if torch.distributed.is_initialized():
            # Data-parallel training: an engine per process, inside the process group that is there.
            hardware["distributed_executor_backend"] = "external_launcher"
        with any_algorithm():
            self.llm = LLM(
                model=model_path,
                dtype=dtype,
                max_model_len=max_model_tokens,
                enforce_eager=sampling.decoding == "eager" or device == "cpu",
                compilation_config=GRAPHS_ALONE if sampling.decoding == "graphs" else {},
                enable_prefix_caching=sampling.prefix_caching,
                logprobs_mode="processed_logprobs",  # those of the distribution that was sampled from
                seed=0,  # every request carries its own
                disable_log_stats=True,
                use_tqdm_on_load=False,
                **extras,
                **hardware,
            )
        self.dtype: torch.dtype = self.llm.llm_engine.model_config.dtype
        if self.dtype != getattr(torch, dtype):
            raise RuntimeError(f"asked vLLM for {dtype}, but the engine runs in {self.dtype}")
        self.observed = self.llm.apply_model(engine_facts)[0]
        self._adapters: dict[int, LoRARequest] = {}
        self._n_loaded = 0

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], slots: Sequence[int] | None = None
    ) -> list[Completion]:
        """See `Sampler.generate`."""
        params = [
            self._params(
                temperature=self._sampling.temperature,
                top_p=self._sampling.top_p,
                top_k=self._sampling.top_k,
                repetition_penalty=self._sampling.repetition_penalty,
                max_tokens=self._sampling.max_completion_tokens,
                logprobs=0,  # of the drawn token alone
                seed=seed,
                stop=list(self._sampling.stop),
                detokenize=bool(self._sampling.stop),
                extra_args={"logit_noise": self._sampling.logit_noise} if self._sampling.logit_noise else None,
            )
            for seed in seeds
        ]
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        adapters = [self._adapters.get(slot) for slot in slots or [0] * len(prompts)]
        with any_algorithm():
            outputs = self.llm.generate(requests, params, use_tqdm=False, lora_request=adapters)
        completions = []
        for output in outputs:
            drawn = output.outputs[0]
            logprobs = [step[token].logprob for step, token in zip(drawn.logprobs, drawn.token_ids, strict=True)]
            completions.append(Completion(list(drawn.token_ids), logprobs, drawn.finish_reason == "length"))
        return completions

    def prompt_logprobs(self, sequences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """See `Sampler.prompt_logprobs`."""
        params = self._params(temperature=1.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        requests = [{"prompt_token_ids": list(sequence)} for sequence in sequences]
        outputs = self.llm.generate(requests, params, use_tqdm=False, lora_request=self._adapters.get(0))
        return [
            np.array(
                [step[token].logprob for step, token in zip(output.prompt_logprobs[1:], sequence[1:], strict=True)]
            )
            for output, sequence in zip(outputs, sequences, strict=True)
        ]

    def load_weights(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        """See `Sampler.load_weights`."""
        if not self.llm.apply_model(has_head)[0]:
            weights = ((name, weight) for name, weight in weights if name != "lm_head.weight")
        if self._device == "cpu":
            # the engine keeps weights in a packed form there, which only it knows how to renew
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        else:
            # in place, where captured graphs read them; weights of dense models need no processing
            self.llm.apply_model(lambda model: model.load_weights(weights))
        self.llm.reset_prefix_cache()

    def load_adapter(self, folder: Path, slot: int = 0) -> None:
        """See `Sampler.load_adapter`. A used id would serve the old weights, so each gets a new one."""
        if slot in self._adapters:
            self.llm.llm_engine.remove_lora(self._adapters[slot].lora_int_id)
        self._n_loaded += 1
        self._adapters[slot] = self._request(f"adapter-{self._n_loaded}", self._n_loaded, str(folder))
        self.llm.llm_engine.add_lora(self._adapters[slot])
        self.llm.reset_prefix_cache()
