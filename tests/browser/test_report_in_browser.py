"""The page in a real browser, opened from disk with the network off.

Needs Chromium (Debian: chromium) and Node, and once `npm ci --prefix tests/browser`; without them the tests are
skipped.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from report_fixture import Plan, make_results

from arc_precision.report.build import build_report
from arc_precision.report.page import render

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = [
    what
    for what, found in (
        ("Chromium", CHROMIUM),
        ("Node", shutil.which("node")),
        ("`npm ci --prefix tests/browser`", (HERE / "node_modules/axe-core").is_dir()),
    )
    if not found
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"browser test needs {' and '.join(MISSING)}")


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict:
    """The page of an experiment with all parts: three arms, a collapse, audits, benchmarks."""
    root = tmp_path_factory.mktemp("results")
    plan = Plan(
        arms=("float16", "bfloat16", "float32"), seeds=(0, 1), n_tasks=12, n_samples=2, max_steps=60,
        gain={"float16": 0.4}, collapse_at={("bfloat16", 1): 40},
        collapse={"smoothing_steps": 5, "patience_steps": 5, "min_steps": 10, "baseline_steps": 10},
    )  # fmt: skip
    report = build_report(make_results(root, plan), root)
    page = root / "report.html"
    page.write_text(render(json.loads(report.model_dump_json()), ROOT / "workflow/report"))
    result = subprocess.run(
        ["node", HERE / "browse.mjs", page],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "CHROMIUM": str(CHROMIUM)},
    )
    return json.loads(result.stdout)


def test_no_error_and_no_request(seen):
    assert seen["console"] == []
    assert seen["requests"] == []


def test_every_plot_is_drawn(seen):
    assert {figure["kind"] for figure in seen["figures"]} == {
        "curve", "causes", "cause-sizes", "by-position", "by-probability", "evaluation", "pass-at-k", "cost",
        "verdicts", "heat-map", "survival", "phases", "ladder",
    }  # fmt: skip
    assert [figure for figure in seen["figures"] if figure["coloured"] < 50] == []


def test_an_arm_is_switched_off_everywhere(seen):
    arm = seen["arm"]
    assert arm["rowsBefore"] > 10 and arm["seriesBefore"] > 10
    assert (arm["rowsOff"], arm["seriesOff"]) == (0, 0)
    assert arm["rowsAfter"] == arm["rowsBefore"]


def test_single_seeds_and_x_axis(seen):
    assert seen["linesWithSeeds"] - seen["linesWithoutSeeds"] == 6
    assert seen["axisName"] == "hours"


def test_zoom_and_reading_values(seen):
    start, end = seen["zoomDragged"]
    assert 20 < start < 50 and 55 < end < 85
    assert seen["zoomReset"] == [0, 100]
    assert seen["zoomKeyed"] == [25, 75]
    assert seen["tooltip"].startswith("step 2") and "float16:" in seen["tooltip"]


def test_task_drawer(seen):
    drawer = seen["drawer"]
    assert drawer["open"] and drawer["closed"]
    assert drawer["grids"] > 8 and drawer["programs"] >= 3 and drawer["digits"] > 20
    assert drawer["next"] != drawer["title"]


def test_every_number_is_in_report_json(seen):
    assert seen["numbers"] > 1000
    assert seen["strangers"] == []


@pytest.mark.parametrize("when", ["Light", "Dark", "Table", "Drawer"])
def test_axe_finds_no_fault(seen, when):
    assert seen[f"faults{when}"] == []


def test_narrow_and_printed(seen):
    assert seen["overflow"] <= 0
    assert seen["dark"] != "rgb(255, 255, 255)"
    assert seen["pdfPages"] > 3
