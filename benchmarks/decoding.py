"""Start-up time and decoding speed of vLLM on a GPU: eager, with CUDA graphs, and compiled.

    python benchmarks/decoding.py --output benchmarks/results/decoding-h100.json
    python benchmarks/decoding.py --model FOLDER --completion-tokens 128 --output FILE

One process per way, one after another, in float16. A batch has 64 completions with a LoRA adapter of rank 8, as in a
step of training. The compile cache starts empty.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from origin import origin

MODES = ("eager", "graphs", "compiled")
N_COMPLETIONS, PROMPT_TOKENS, REPEATS = 64, 200, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resources/tiny-arc")
    parser.add_argument("--completion-tokens", type=int, default=12)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--mode", choices=MODES, help="measure this one alone and print it (what the others call)")
    args = parser.parse_args()
    if args.mode:
        print(json.dumps(measure(args.mode, args.model, args.completion_tokens)))
        return
    results = {}
    with tempfile.TemporaryDirectory() as cache:
        for mode in MODES:
            command = [sys.executable, __file__, *sys.argv[1:], "--mode", mode]
            environment = os.environ | {"VLLM_CACHE_ROOT": cache}
            began = time.perf_counter()
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            results[mode] = json.loads(done.stdout.splitlines()[-1]) | {"process_s": time.perf_counter() - began}
            print(mode, results[mode], flush=True)
    record = {
        **origin("torch", "vllm", gpu=gpu_name()),
        "completions": N_COMPLETIONS,
        "completion_tokens": args.completion_tokens,
        "decoding": results,
    }
    args.output.write_text(json.dumps(record, indent=1) + "\n")


def gpu_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def measure(mode: str, model: str, completion_tokens: int) -> dict[str, float]:
    """Seconds until vLLM is ready for the first completion, and those of the fastest of some batches."""
    began = time.perf_counter()
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from arc_precision.config.sampling import SamplingConfig
    from arc_precision.sampling.engines import EngineMemory, make_sampler

    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    sampling = SamplingConfig(max_completion_tokens=completion_tokens, decoding=mode)
    memory = EngineMemory(0.3, 4 * 2**30)
    engine_began = time.perf_counter()
    sampler = make_sampler(sampling, model, "float16", "cuda", PROMPT_TOKENS, memory, lora_r=8, lora_modules=modules)
    start_s = time.perf_counter() - engine_began
    with tempfile.TemporaryDirectory() as folder:
        base = AutoModelForCausalLM.from_pretrained(model)
        get_peft_model(base, LoraConfig(r=8, target_modules=modules)).save_pretrained(folder)
        sampler.load_adapter(Path(folder))
    seconds, tokens = [], []
    for repeat in range(REPEATS):
        prompts = [[3 + (i // 8 + repeat + j) % 50 for j in range(PROMPT_TOKENS)] for i in range(N_COMPLETIONS)]
        batch_began = time.perf_counter()
        drawn = sampler.generate(prompts, list(range(N_COMPLETIONS)))
        seconds.append(time.perf_counter() - batch_began)
        tokens.append(max(len(completion.token_ids) for completion in drawn))
    return {
        "start_s": start_s,
        "imports_s": engine_began - began,
        "batch_s": min(seconds),
        "longest_completion_tokens": tokens[seconds.index(min(seconds))],
    }


if __name__ == "__main__":
    main()
