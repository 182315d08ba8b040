"""From files under results/ to report.json and the page."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from report_fixture import Plan, make_results

ROOT = Path(__file__).parents[2]


def run_script(name: str, *arguments: object) -> None:
    subprocess.run(
        [sys.executable, ROOT / "workflow/scripts" / name, *map(str, arguments)],
        check=True,
        env={"PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    cfg = make_results(root, Plan(seeds=(0,), n_tasks=8, n_samples=2, max_steps=20))
    run_script("report_data.py", "--cfg", json.dumps(cfg), "--results-dir", root, "--report", root / "report/report.json",
               "--csv-dir", root / "report/report_data")  # fmt: skip
    run_script("report_page.py", "--report", root / "report/report.json", "--template-dir", ROOT / "workflow/report",
               "--page", root / "report/report.html")  # fmt: skip
    return root


def test_scripts_write_report_page_and_tables(made):
    report = json.loads((made / "report/report.json").read_text())
    assert [(run["arm"], run["seed"], run["steps"]) for run in report["runs"]] == [
        ("float16", 0, 20),
        ("bfloat16", 0, 20),
    ]
    assert report["runs"][1]["observed"]["engine_dtype"] == "bfloat16"
    assert report["runs"][1]["logp_diff_abs_mean"] > 5 * report["runs"][0]["logp_diff_abs_mean"]
    assert (made / "report/report_data/runs.csv").read_text().startswith("arm,seed,status,steps")
    assert "bfloat16" in (made / "report/report.html").read_text()
