"""The two scripts, from files under results/ to report.json, tables and the page."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from report_fixture import Plan, make_results, report_slice

ROOT = Path(__file__).parents[2]
PLAN = Plan(seeds=(0,), n_tasks=8, n_samples=2, max_steps=20)


def run_script(name: str, *arguments: object) -> None:
    subprocess.run(
        [sys.executable, ROOT / "workflow/scripts" / name, *map(str, arguments)],
        check=True,
        env={"PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    make_results(root, PLAN)
    report, page, tables = (root / "report" / name for name in ("report.json", "report.html", "report_data"))
    slice, files = (
        report_slice(PLAN),
        [path for path in root.rglob("*") if path.is_file() and "seed-1" not in path.parts],
    )
    run_script(
        "report_data.py", "--slice", *slice, "--results-dir", root, "--report", report, "--csv-dir", tables, *files
    )
    run_script("report_page.py", "--report", report, "--template-dir", ROOT / "workflow/report", "--page", page)
    return root / "report"


def test_report_holds_the_runs(made):
    report = json.loads((made / "report.json").read_text())
    assert [(run["arm"], run["seed"], run["steps"]) for run in report["runs"]] == [
        ("float16", 0, 20),
        ("bfloat16", 0, 20),
    ]
    assert report["runs"][1]["observed"]["sampler_dtype"] == "bfloat16"
    assert report["runs"][1]["logp_diff_abs_mean"] > 5 * report["runs"][0]["logp_diff_abs_mean"]


def test_tables_and_page_are_written(made):
    assert (made / "report_data/runs.csv").read_text().startswith("arm,seed,state,stopped_at,steps")
    assert "bfloat16" in (made / "report.html").read_text()
