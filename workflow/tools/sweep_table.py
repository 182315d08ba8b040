"""Rewards of a hyper-parameter sweep: per arm the mean over its first and last steps, from its steps files.

    sweep_table.py results/sweep [--window 20] [--output sweep.json]

The setting with the highest reward at the end, as a mean over both dtypes, is chosen.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from arc_precision.cli import run
from arc_precision.contracts import layout

DTYPES = ("float16", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--window", type=int, default=20, help="steps at either end")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()

    rows = []
    files: dict[tuple[str, str], list[Path]] = {}
    for path, values in layout.STEPS.find(args.results):
        files.setdefault((values["arm"], values["seed"]), []).append(path)
    for (arm, _), segments in files.items():
        steps = pd.DataFrame([json.loads(line) for file in segments for line in file.read_text().splitlines()])
        dtype = next((name for name in DTYPES if arm.startswith(f"{name}-")), arm)
        first, last = steps.head(args.window), steps.tail(args.window)
        rows.append(
            {
                "setting": arm.removeprefix(f"{dtype}-"),
                "dtype": dtype,
                "steps": len(steps),
                "reward_first": first["reward_mean"].mean(),
                "reward_last": last["reward_mean"].mean(),
                "solved_last": last["solved_share"].mean(),
                "entropy_last": last["entropy"].mean(),
                "truncated_last": last["truncated_share"].mean(),
                "skipped": int(steps["skipped"].sum()),
                "mismatch_last": last["mismatch/logp_diff_abs_mean"].mean(),
            }
        )
    table = pd.DataFrame(rows)
    both = table.groupby("setting")["reward_last"].mean().sort_values(ascending=False)
    print(table.sort_values(["setting", "dtype"]).to_string(index=False, float_format="%.4f"))
    print("\nReward at the end, mean of the dtypes:\n" + both.to_string(float_format="%.3f"))
    if args.output:
        runs = json.loads(table.to_json(orient="records"))
        args.output.write_text(json.dumps({"window_steps": args.window, "runs": runs}, indent=1) + "\n")


run(main)
