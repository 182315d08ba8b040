"""report.json to report.html, one file that works offline.

report_page.py --report report.json --template-dir workflow/report --page report.html
"""

import argparse
from pathlib import Path

from arc_precision.cli import run
from arc_precision.contracts.whole import read_object
from arc_precision.report.page import render
from arc_precision.report.schema import SCHEMA_VERSION, Report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, required=True, help="report.json to read")
    parser.add_argument("--template-dir", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True, help="report.html to write")
    args = parser.parse_args()
    report = read_object(args.report, SCHEMA_VERSION, Report.model_fields)
    args.page.write_text(render(report, args.template_dir), encoding="utf-8")


if __name__ == "__main__":
    run(main)
