"""Draw with noise on the logits in a process of its own (vLLM allows one engine per process): noise_probe.py OUTPUT.

Writes, as JSON, the completions of three prompts drawn together and of the last of them drawn alone.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from arc_precision.config.sampling import SamplingConfig
from arc_precision.sampling.engines import EngineMemory, make_sampler

MODEL = Path(__file__).parents[2] / "resources" / "tiny-arc"
PROMPTS, SEEDS, NOISE = [[5, 6, 7], [9, 8], [4, 4, 4, 5]], [11, 12, 13], 0.5


def main() -> None:
    sampling = SamplingConfig(max_completion_tokens=12, logit_noise=NOISE)
    sampler = make_sampler(sampling, str(MODEL), "float32", "cpu", 16, EngineMemory(0.3))
    together = sampler.generate(PROMPTS, SEEDS)
    alone = sampler.generate(PROMPTS[2:], SEEDS[2:])
    Path(sys.argv[1]).write_text(json.dumps([asdict(completion) for completion in together + alone]))


if __name__ == "__main__":
    main()
