"""The time in which Snakemake plans a new experiment of 3 arms, 5 seeds, 20 checkpoints and 3 evaluation sets.

    python benchmarks/plan.py --output benchmarks/results/plan.json

Three commands take turns, so that other work on the machine affects all alike: `snakemake -n`, which gives the reason
for each job; `snakemake -n -q`, which counts the jobs; and `snakemake --version`, which only starts and so measures the
present speed of the machine. Not covered: plans of half-finished experiments, for which Snakemake also reads its
records of each file.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from origin import origin
from yaml import safe_dump

EXPERIMENT = {
    "experiment": "plan-benchmark",
    "max_steps": 200,
    "run_arms": ["float16", "bfloat16", "float32"],
    "seeds": [0, 1, 2, 3, 4],
    "evaluate_on": ["arc-agi-1-training", "arc-agi-1-evaluation", "generated-held-out"],
    "evaluation": {"every": 10},
    "audit": {"every": 200},
}
COMMANDS = {"-n": ["-n"], "-n -q": ["-n", "-q"], "--version": ["--version"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file, tempfile.NamedTemporaryFile("w+") as printed:
        safe_dump(EXPERIMENT, file)
        file.flush()
        for _ in range(args.repeats):
            for name, options in COMMANDS.items():
                # Output goes to a file: the reader of a pipe would take time from the same processor.
                printed.seek(0)
                printed.truncate()
                start = time.perf_counter()
                subprocess.run(
                    ["snakemake", *options, "--configfile", file.name],
                    check=True,
                    stdout=printed,
                    stderr=subprocess.DEVNULL,
                )
                seconds[name].append(time.perf_counter() - start)
                if name == "-n":
                    printed.seek(0)
                    jobs = next(line.split()[1] for line in printed if line.startswith("total"))
    print(f"{jobs} jobs")
    for name, values in seconds.items():
        median, under = statistics.median(values), sum(value < 5 for value in values)
        print(f"snakemake {name}: {min(values):.2f} to {max(values):.2f} s, median {median:.2f}, {under} under 5 s")
    if args.output:
        record = {**origin("snakemake", "pydantic"), "jobs": int(jobs), "seconds": seconds}
        args.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
