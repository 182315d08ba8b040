"""The report of a large experiment: three arms, five seeds, twenty checkpoints, 400 tasks a set."""

import json
from pathlib import Path

from report_fixture import Plan, make_results

from arc_precision.report.build import build_report
from arc_precision.report.page import render

ROOT = Path(__file__).parents[2]


def test_a_large_experiment_fits_into_20_mb(tmp_path):
    plan = Plan(
        arms=("float16", "bfloat16", "float32"), seeds=tuple(range(5)), max_steps=400, segment_steps=20,
        evaluate_every=20, n_tasks=400, draw_once=True,
    )  # fmt: skip
    report = build_report(make_results(tmp_path, plan), tmp_path)
    assert len(report.runs) == 15
    assert len({row.step for row in report.evaluation.rows}) == 21
    page = render(json.loads(report.model_dump_json()), ROOT / "workflow/report")
    assert len(page.encode()) < 20_000_000
