"""Score one sequence in a process of its own (vLLM allows one engine per process): float8_probe.py OUTPUT auto|fp8.

The last argument is `kv_cache_dtype`. It bypasses the configuration, which would demand a GPU.
"""

import json
import sys
from pathlib import Path

from arc_precision.config.sampling import SamplingConfig
from arc_precision.sampling.engines import EngineMemory, make_sampler

MODEL = Path(__file__).parents[2] / "resources" / "tiny-arc"


def main() -> None:
    sampling = SamplingConfig(max_completion_tokens=12, kv_cache_dtype=sys.argv[2])
    sampler = make_sampler(sampling, str(MODEL), "bfloat16", "cpu", 64, EngineMemory(0.3))
    scored = sampler.prompt_logprobs([[257, *range(60, 100)]])[0].tolist()
    Path(sys.argv[1]).write_text(json.dumps({"observed": sampler.observed, "scored": scored}))


if __name__ == "__main__":
    main()
