"""Files under results/<experiment>/ to report.json and report_data/*.csv.

    report_data.py --slice JSON --results-dir results/tiny --report report.json --csv-dir report_data [FILE ...]

If files are named, only these are read. Otherwise all present files are read, as for the report of a half-finished
experiment.
"""

import argparse
from pathlib import Path

from arc_precision.cli import run
from arc_precision.config.base import from_words
from arc_precision.config.report import ReportSlice
from arc_precision.report.build import build_report
from arc_precision.report.tables import write_tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slice", nargs="+", required=True, help="ReportSlice as key=value")
    parser.add_argument("--results-dir", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True, help="report.json to write")
    parser.add_argument("--csv-dir", type=Path, required=True, help="folder of the tables to write")
    parser.add_argument("files", type=Path, nargs="*")
    args = parser.parse_args()
    report = build_report(from_words(ReportSlice, args.slice), args.results_dir, args.files or None)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(report.model_dump_json() + "\n", encoding="utf-8")
    write_tables(report, args.csv_dir)


if __name__ == "__main__":
    run(main)
