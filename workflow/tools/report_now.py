"""The report of a half-finished experiment, from the files present now (`make report-now`). It lists the missing
ones."""

import argparse
import json
import warnings
from pathlib import Path

from arc_precision.cli import run
from arc_precision.contracts import layout

warnings.filterwarnings("ignore", message="The environment variable CONDOR_CONFIG")


def main() -> None:
    from arc_precision.report.build import build_report
    from arc_precision.report.page import render
    from arc_precision.staleness.plan import experiment_of

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="experiment laid over config.yaml")
    args = parser.parse_args()

    experiment = experiment_of(Path.cwd(), args.configfile)
    results = Path("results") / experiment.experiment
    report = build_report(experiment.report_slice(), results)
    page = results / layout.REPORT_NOW
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(json.loads(report.model_dump_json()), Path("workflow/report")), encoding="utf-8")
    print(f"{page}: open it in a browser")


run(main)
