"""The gains of an experiment's runs: last evaluation against the first, paired by task, from its report.

    snakemake --configfile experiments/tiny-full.yaml --config 'audit={every: 400}' --resources gpu=8
    python benchmarks/learning.py results/tiny-full --output benchmarks/results/tiny-full-h200.json

The first evaluation is that of the base model. A gain is the mean over seeds and tasks of the difference, with the 95 %
interval of the report: if it leaves out 0, the paired test has found a change. Machine and versions come from the
records of the runs. Not covered: the reasons (the report's audits).
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from origin import origin

METRICS = ("pass@1", "solved_any")
RUN_COLUMNS = ["arm", "seed", "state", "steps", "reward_final", "logp_diff_abs_mean", "hours"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    tables = args.results / "report" / "report_data"
    evaluation = pd.read_csv(tables / "evaluation.csv")
    wanted = evaluation[evaluation["metric"].isin(METRICS)]
    columns = [
        "set",
        "dtype",
        "arm",
        "step",
        "n_seeds",
        "n_tasks",
        "n_samples",
        "seen_share",
        "metric",
        "value",
        "low",
        "high",
    ]
    base, gains = (
        wanted[mask][columns]
        for mask in ((wanted["arm"] == "base") & (wanted["kind"] == "metrics"), wanted["kind"] == "gains")
    )
    gains = gains.assign(change=[_change(row.low, row.high) for row in gains.itertuples()])
    facts = json.loads(min(args.results.glob("runs/*/*/facts-*.json")).read_text())
    training = json.loads((args.results / "data" / "train.json").read_text())
    record = {
        "schema_version": 1,
        **{key: origin()[key] for key in ("command", "date")},
        "machine": facts["observed"]["device"],
        "versions": facts["versions"],
        "training_tasks": {key: training[key] for key in ("tried", "kept")},
        "runs": _rows(pd.read_csv(tables / "runs.csv")[RUN_COLUMNS]),
        "base": _rows(base),
        "gains": _rows(gains),
        "comparisons": _rows(pd.read_csv(tables / "comparisons.csv")),
    }
    args.output.write_text(json.dumps(record, indent=1) + "\n")
    print(gains[["set", "arm", "metric", "value", "low", "high", "change"]].round(3).to_string(index=False))


def _change(low: float, high: float) -> str:
    return "gain" if low > 0 else "loss" if high < 0 else "none found"


def _rows(table: pd.DataFrame) -> list[dict]:
    return json.loads(table.to_json(orient="records"))


if __name__ == "__main__":
    main()
