"""vLLM's settings, in arguments and in variables, and the GPUs on which they are refused."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from arc_precision.config.sampling import SamplingConfig
from arc_precision.sampling.vllm_sampler import (
    VllmSampler,
    any_algorithm,
    check_gpu,
    engine_environment,
    format_arguments,
)


class HandedOver:
    """In vLLM's place: a model, and the names of the weights that it is given."""

    def __init__(self, **layers: torch.nn.Module) -> None:
        self.names: list[str] = []
        self._model = SimpleNamespace(
            load_weights=lambda weights: self.names.extend(name for name, _ in weights), **layers
        )

    def apply_model(self, function):
        return [function(self._model)]

    def reset_prefix_cache(self) -> None:
        pass


@pytest.mark.parametrize("layers", [{}, {"lm_head": torch.nn.Identity()}], ids=["takes the embedding", "has a head"])
def test_a_head_is_handed_over_to_a_model_that_has_one(layers):
    sampler = VllmSampler.__new__(VllmSampler)
    sampler.llm, sampler._device = HandedOver(**layers), "cuda"
    sampler.load_weights((name, torch.zeros(1)) for name in ("model.embed_tokens.weight", "lm_head.weight"))
    assert ("lm_head.weight" in sampler.llm.names) == bool(layers) and "model.embed_tokens.weight" in sampler.llm.names


def test_a_number_format_is_an_argument_where_it_was_asked_for():
    assert format_arguments(SamplingConfig()) == {"kv_cache_dtype": "auto"}
    assert format_arguments(SamplingConfig(quantization="fp8")) == {"kv_cache_dtype": "auto", "quantization": "fp8"}
    assert format_arguments(SamplingConfig(kv_cache_dtype="fp8")) == {"kv_cache_dtype": "fp8"}
    in_float32 = {"kv_cache_dtype": "auto", "hf_overrides": {"head_dtype": "float32"}}
    assert format_arguments(SamplingConfig(head_dtype="float32")) == in_float32


def test_kernels_come_from_the_configuration_and_those_that_do_not_depend_on_the_batch_from_another_process():
    plain = engine_environment(SamplingConfig(), lora_r=8)
    assert plain["VLLM_BATCH_INVARIANT"] == plain["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    invariant = SamplingConfig(batch_invariant=True)
    apart, merged = engine_environment(invariant, lora_r=8), engine_environment(invariant, lora_r=0)
    assert apart["VLLM_BATCH_INVARIANT"] == merged["VLLM_BATCH_INVARIANT"] == "1"
    assert (apart["VLLM_ENABLE_V1_MULTIPROCESSING"], merged["VLLM_ENABLE_V1_MULTIPROCESSING"]) == ("1", "0")
    assert apart["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


@pytest.mark.parametrize(
    ("sampling", "least"),
    [({"batch_invariant": True}, (8, 0)), ({"quantization": "fp8"}, (8, 9)), ({"kv_cache_dtype": "fp8"}, (8, 9))],
)
def test_a_gpu_that_is_too_old_is_refused_in_one_sentence(sampling, least):
    check_gpu(SamplingConfig(**sampling), least)
    check_gpu(SamplingConfig(), (7, 0))
    (key,) = sampling
    with pytest.raises(
        ValueError, match=rf"^sampling.{key}: \w+ needs a GPU of .* {least[0]}.{least[1]} .*has 7.5; write"
    ):
        check_gpu(SamplingConfig(**sampling), (7, 5))


def test_vllm_may_use_what_has_no_deterministic_algorithm():
    torch.use_deterministic_algorithms(True)
    try:
        with any_algorithm():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    with any_algorithm():
        pass
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_script_runs_once_though_the_process_of_its_engine_imports_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing\n"
        "from arc_precision.cli import run\n"
        "def child(): print('engine')\n"
        "def main():\n"
        "    print('main')\n"
        "    process = multiprocessing.get_context('spawn').Process(target=child)\n"
        "    process.start(); process.join(); assert process.exitcode == 0\n"
        "run(main)\n"
    )
    done = subprocess.run([sys.executable, script], env=os.environ, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["main", "engine"], done.stderr
