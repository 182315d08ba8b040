"""Draw with an adapter from vLLM in a process of its own, or in this one: own_process_probe.py OUTPUT ADAPTER 1|0.

The kernels are vLLM's usual ones, as a CPU has no others; everything else is as with `batch_invariant`.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from vllm.model_executor.layers import utils

from arc_precision.config.sampling import SamplingConfig
from arc_precision.sampling import engines, vllm_sampler

MODEL = Path(__file__).parents[2] / "resources" / "tiny-arc"
PROMPTS, SEEDS = [[257, 6, 7], [257, 8], [257, 4, 4, 5]], [11, 12, 13]


def wrapper_names(model) -> list[str]:
    """What multiplies with adapters in vLLM's layers."""
    parts = [part for part in model.modules() if hasattr(part, "punica_wrapper")]
    return sorted({type(part.punica_wrapper).__name__ for part in parts})


def main() -> None:
    output, adapter, apart = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "1"
    environment = vllm_sampler.engine_environment(SamplingConfig(batch_invariant=apart), lora_r=8)
    vllm_sampler.engine_environment = lambda sampling, lora_r: environment | {"VLLM_BATCH_INVARIANT": "0"}
    sampling = SamplingConfig(max_completion_tokens=12)
    memory = engines.EngineMemory(0.3)
    sampler = engines.make_sampler(sampling, str(MODEL), "float32", "cpu", 16, memory, 8, ("q_proj", "o_proj"))
    before = sampler.generate(PROMPTS, SEEDS)
    sampler.load_adapter(adapter)
    drawn = [[asdict(completion) for completion in batch] for batch in (before, sampler.generate(PROMPTS, SEEDS))]
    inner = type(sampler.llm.llm_engine.engine_core).__name__
    wrappers = None if apart else sampler.llm.apply_model(wrapper_names)[0]
    found = {"drawn": drawn, "observed": sampler.observed, "core": inner, "wrappers": wrappers}
    found["products"] = utils.dispatch_cpu_unquantized_gemm.__module__
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
