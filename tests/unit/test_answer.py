"""docs/answer.md by command: the parts of a report that are kept, and the numbers, tables and figures made from them.

The data are made up; nothing here was measured.
"""

import json
import re
import sys
from copy import deepcopy
from pathlib import Path

import pandas as pd
import pytest
from report_fixture import Plan, make_results

from arc_precision.report.build import build_report
from arc_precision.report.ladder import measures

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "workflow" / "tools"))
import answer  # noqa: E402


def _interval(value, low, high):
    return {"value": value, "low": low, "high": high}


def _arm(name, onsets=(), score=None, n=2):
    return {"name": name, "seeds_found": n, "onsets": list(onsets), "score": score and _interval(*score)}


def _run(arm, seed, spread, score):
    ends = {"steps": 200, "state": "finished", "reward_final": 1 + seed}
    return {"arm": arm, "seed": seed, "seq_log_ratio_std": spread, "score": score} | ends


@pytest.fixture
def dose():
    """float16, bfloat16, three doses on weights, the last of which does harm, and a dose on logits."""
    scores = {"float16": 0.6, "bfloat16": 0.6, "w-1": 0.59, "w-2": 0.4, "w-3": 0.2, "l-1": 0.6}
    spreads = {"float16": 0.003, "bfloat16": 0.03, "w-1": 0.3, "w-2": 1.0, "w-3": 30.0, "l-1": 2.5}
    worse = {"bfloat16": (0, -0.01, 0.01), "w-1": (-0.01, -0.02, 0.01), "w-2": (-0.02, -0.04, -0.005)}
    worse |= {"w-3": (-0.4, -0.5, -0.3), "l-1": (0, None, None)}
    runs = [_run(arm, seed, spreads[arm] * (0.8, 1.25)[seed], scores[arm]) for arm in scores for seed in (0, 1)]
    return {
        "title": "How much mismatch does a run bear?",
        "settings": {
            "arms": list(scores),
            "baseline_arm": "float16",
            "primary_metric": "pass@1",
            "primary_set": "generated-held-out",
            "confidence": 0.95,
            "max_steps": 200,
        },
        "noise": {
            "weight_noise": {"float16": 0, "bfloat16": 0, "w-1": 0.02, "w-2": 0.045, "w-3": 0.1, "l-1": 0},
            "logit_noise": {"w-1": 0, "l-1": 2.0},
        },
        "base_score": 0.46,
        "design_effects": {"w-1": 7.125},
        "arms": [_arm(arm, score=(score, score - 0.02, score + 0.02)) for arm, score in scores.items()],
        "runs": runs,
        "comparisons": [{"arm": arm, "over_seeds": _interval(*ends)} for arm, ends in worse.items()],
        "origins": [{"device": "GPU of nowhere", "commit": "0123456789", "arm": "float16", "seed": 0}],
    }


@pytest.fixture
def edge(dose):
    """Two arms; bfloat16 collapses."""
    ends = {("bfloat16", 0): 120, ("bfloat16", 1): 80, ("float16", 0): None, ("float16", 1): None}
    curve = {"endpoint": "collapsed", "low": [], "high": [], "at_risk": []}
    return dose | {
        "settings": dose["settings"] | {"arms": ["float16", "bfloat16"], "baseline_arm": "bfloat16"},
        "arms": [_arm("float16"), _arm("bfloat16", onsets=[120, 80])],
        "runs": [_run(*run, 0.1, 0.3) for run in ends],
        "comparisons": [{"arm": "float16", "over_seeds": _interval(0.1, -0.05, 0.25)}],
        "collapse": {
            "runs": [
                {"arm": arm, "seed": seed, "state": "", "steps": 200, "onset_step": onset}
                for (arm, seed), onset in ends.items()
            ],
            "survival": [
                curve | {"arm": "float16", "step": [0, 200], "share": [1, 1]},
                curve | {"arm": "bfloat16", "step": [0, 80, 120], "share": [1, 0.5, 0]},
                curve | {"arm": "bfloat16", "endpoint": "collapsed or failed", "step": [0, 7], "share": [1, 0]},
            ],
            "log_rank": [
                {"endpoint": "collapsed", "p_value": 0.333, "p_smallest": 0.333, "reason": None},
                {"endpoint": "collapsed or failed", "p_value": 0.9, "p_smallest": 0.333, "reason": None},
            ],
        },
    }


@pytest.fixture
def audit(dose):
    metrics = {"logp_diff_abs_mean": 0.0123, "seq_log_ratio_std": 0.42, "ess_seq": 0.9}
    causes = [{"cause": "trainer_rounding", "share": 0.7}, {"cause": "decode", "share": 0.3}]
    return dose | {"mismatch": [{"arm": "bfloat16-350", "step": 1, "causes": causes, "metrics": metrics}]}


# ------------------------------------------------------------------------------------------------ numbers


def test_the_threshold_of_the_doses_lies_between_two_of_them(dose):
    values = answer.texts({"dose": dose})
    assert values["dose.harmful"] == "**1 nats (w-2: -2.0 (-4.0 to -0.5) points)**"
    assert values["dose.harmless"] == "**0.3 nats (w-1: -1.0 (-2.0 to +1.0) points)**"
    assert values["dose.collapsed"] == "**w-3 2 of 2**"
    row = "| w-1 | 2 | 200 | - | 0.3 | 7.1 | 1.0, 2.0 | 59.0 (57.0 to 61.0) | -1.0 (-2.0 to +1.0) |"
    assert row in values["dose"] and "| float16 | 2 | 200 | - | 0.003 | - | 1.0, 2.0 | 60.0" in values["dose"]
    for row in dose["comparisons"]:
        row["over_seeds"]["high"] = 0.01
    values = answer.texts({"dose": dose})
    assert values["dose.harmful"] == "**none**" and values["dose.harmless"].startswith("**30 nats (w-3")
    for row in dose["comparisons"]:
        row["over_seeds"]["high"] = -0.01
    assert answer.texts({"dose": dose})["dose.harmless"] == "**none**"


def test_collapses_are_counted_and_tested(edge):
    values = answer.texts({"smollm2": edge})
    assert values["smollm2.collapsed"] == "**float16 0 of 2; bfloat16 2 of 2 (step 80, 120)**"
    assert values["smollm2.test"] == "**p = 0.33 (the smallest possible: 0.33)**"
    rewards = answer.texts({"smollm2-edge": edge})["smollm2-edge.rewards"]
    assert rewards == "**float16 1.0, 2.0; bfloat16 1.0, 2.0 (after 200 of 200 steps)**"
    assert values["smollm2-swept.collapsed"] == "**not run yet**"
    edge["collapse"]["log_rank"][0] |= {"p_value": None, "reason": "Too few runs."}
    assert answer.texts({"smollm2": edge})["smollm2.test"] == "**Too few runs.**"


def test_a_cause_moves_the_collapse_where_its_runs_are_all_on_one_side(edge):
    def moved(**ends):
        data = deepcopy(edge)
        data["settings"]["arms"] = ["bfloat16", "arm"]
        data["collapse"]["runs"] = [
            {"arm": arm, "seed": seed, "steps": steps, "onset_step": onset}
            for arm, runs in {"bfloat16": [(200, 80), (200, 120)], **ends}.items()
            for seed, (steps, onset) in enumerate(runs)
        ]
        return answer.moved(data)

    assert moved(arm=[(200, None), (200, 121)]) == "later: arm; earlier: none"
    assert moved(arm=[(200, 79), (200, 10)]) == "later: none; earlier: arm"
    assert moved(arm=[(200, 79), (200, None)]) == "later: none; earlier: none"
    assert moved(arm=[(60, None), (60, None)]) == "later: none; earlier: none"  # stopped for another reason
    assert moved(arm=[]) == "later: none; earlier: none"
    # No run can outlast a run of bfloat16 that did not collapse, but a collapse comes before its end.
    assert moved(bfloat16=[(200, None), (200, 90)], arm=[(200, None)]) == "later: none; earlier: none"
    assert moved(bfloat16=[(200, None), (200, 90)], arm=[(200, 30)]) == "later: none; earlier: arm"


def test_the_audit_is_a_table_and_a_mark_on_the_doses(dose, audit):
    values = answer.texts({"notebook-8b-audit": audit})
    assert values["notebook-8b-audit.spread"] == "**bfloat16-350 0.42**"
    assert "| bfloat16-350 | 0.012 | 0.42 | 0.9 | 0.7 | 0.3 |" in values["notebook-8b-audit"]
    assert "bfloat16-350" in answer.dose_figure(dose, audit).svg()
    assert "bfloat16-350" not in answer.dose_figure(dose, None).svg()


# ------------------------------------------------------------------------------------------------ figures and document


def test_the_figure_of_the_doses_has_a_point_per_run_and_an_interval_per_arm(dose):
    svg = answer.dose_figure(dose, None).svg()
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="3.5" fill="(#\w+)"', svg)
    assert len(circles) == 12 and svg.count(" h14") == 6
    places = [float(x) for x, _, _ in circles]
    bfloat16, weak, middle = (sum(places[2 * i : 2 * i + 2]) / 2 for i in (1, 2, 3))
    stroke = re.findall(r"M([\d.]+) [\d.]+ h14", svg)
    assert float(stroke[1]) + 7 == pytest.approx(bfloat16, abs=0.2)
    decade = places[2] - places[0]  # from float16 to bfloat16, ten times the spread
    assert weak - bfloat16 == pytest.approx(decade, abs=0.2) and middle - weak == pytest.approx(0.523 * decade, abs=0.2)
    heights = [float(y) for _, y, _ in circles]
    assert max(heights) == heights[8] and heights[0] == heights[2]
    colors = [color for _, _, color in circles[::2]]
    assert colors[2] == colors[3] == colors[4] and len(set(colors)) == 4
    assert all(label in svg for label in ("weight noise", "logit noise", "natural float16", "natural bfloat16"))


def test_survival_is_drawn_in_stairs_to_the_last_step(edge):
    svg = answer.survival_figure(edge).svg()
    lines = re.findall(r'<path d="(M[\d.]+ [\d.]+ H[^"]*)" fill="none" stroke="#[\w]+" stroke-width', svg)
    assert len(lines) == 2 and lines[0].count("H") == 2 and lines[1].count("H") == 3
    assert lines[1].endswith("V328.0") and lines[0].split(" H")[-1] == lines[1].split(" H")[-1].replace("328.0", "40.0")


def test_only_marked_text_is_written_and_writing_twice_changes_nothing(dose):
    values = answer.texts({"dose": dose})
    text = "a 1\n<!-- answer: dose.collapsed -->9 of 9<!-- /answer --> b\n<!-- answer: dose --><!-- /answer -->\nc"
    once = answer.filled(text, values)
    assert (
        once.startswith("a 1\n<!-- answer: dose.collapsed -->**w-3 2 of 2**<!-- /answer --> b\n") and once[-2:] == "\nc"
    )
    assert answer.filled(once, values) == once
    with pytest.raises(ValueError, match="docs/answer.md marks dose.harm, which is not known; write one of dose.harml"):
        answer.filled("<!-- answer: dose.harm -->1<!-- /answer -->", values)


def test_the_document_is_what_the_command_writes(tmp_path):
    text = (ROOT / "docs/answer.md").read_text()
    (tmp_path / "answer.md").write_text(text)
    answer.write_document(tmp_path / "answer.md", _copy_of_data(tmp_path))
    assert (tmp_path / "answer.md").read_text() == text, "run `make answer`"
    kept = sorted(path.name for path in (ROOT / "docs/answer").glob("*.svg"))
    assert kept == sorted(path.name for path in (tmp_path / "answer").glob("*.svg"))
    assert all((ROOT / "docs/answer" / name).read_text() == (tmp_path / "answer" / name).read_text() for name in kept)
    # Every number of an experiment comes from a mark.
    marked = set(re.findall(r"<!-- answer: (\S+) -->", text))
    assert marked == set(answer.texts({}))


def _copy_of_data(tmp_path: Path) -> Path:
    folder = tmp_path / "answer"
    (folder / "data").mkdir(parents=True)
    for file in (ROOT / "docs/answer/data").glob("*.json"):
        (folder / "data" / file.name).write_text(file.read_text())
    return folder


# ------------------------------------------------------------------------------------------------ from a report


def test_a_report_is_taken_over_and_told(tmp_path):
    arms = {"sets": ("generated-held-out",), "n_tasks": 20, "max_steps": 60, "evaluate_every": 60}
    plan = Plan(**arms, collapse_at={("bfloat16", 0): 20}, collapse={"smoothing_steps": 5, "patience_steps": 5})
    results = tmp_path / "results"
    report = build_report(make_results(results, plan), results).model_copy(update={"experiment": "smollm2"})
    (results / "report").mkdir()
    written = json.loads(report.model_dump_json())
    written["evaluation"]["rows"].reverse()
    written["ladder"] = {"arms": [{"arm": "bfloat16", "design_effect": _interval(3.5, 3, 4)}]}
    (results / "report/report.json").write_text(json.dumps(written))
    (results / "report/report.html").write_text("<html>")
    folder = tmp_path / "answer"
    answer.take(results, folder)
    assert (folder / "smollm2.html").read_text() == "<html>"
    data = json.loads((folder / "data/smollm2.json").read_text())
    runs = {(run["arm"], run["seed"]): run["seq_log_ratio_std"] for run in data["runs"]}
    for (arm, seed), spread in runs.items():
        files = sorted((results / f"runs/{arm}/seed-{seed}").glob("steps-*.jsonl"))
        steps = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        assert len(steps) == 60
        assert spread == pytest.approx(measures(pd.DataFrame(steps), 50)["spread"], rel=1e-5)
    assert data["noise"] == {} and data["design_effects"] == {"bfloat16": 3.5}
    base = next(row for row in report.evaluation.rows if row.arm == "base" and row.dtype == "float32")
    assert data["base_score"] == base.metrics["pass@1"].value
    (tmp_path / "answer.md").write_text("<!-- answer: smollm2 --><!-- /answer -->")
    answer.write_document(tmp_path / "answer.md", folder)
    text = (tmp_path / "answer.md").read_text()
    (onset,) = [run.onset_step for run in report.collapse.runs if run.onset_step is not None]
    assert "6 of 6 runs, on " in text and f"| bfloat16 | 3 | 60 | {onset} |" in text and "![float16 against" in text
    assert (folder / "smollm2.svg").stat().st_size < 20_000
    written["runs"][0]["state"] = "running"
    (results / "report/report.json").write_text(json.dumps(written))
    (folder / "smollm2.html").unlink()
    answer.take(results, folder)
    answer.write_document(tmp_path / "answer.md", folder)
    assert not (folder / "smollm2.html").exists()
    assert "Some have not ended; they go on by `snakemake" in (tmp_path / "answer.md").read_text()
    (results / "report/report.html").write_text("x" * (answer.MAX_PAGE_BYTES + 1))
    with pytest.raises(ValueError, match="2097153 bytes, and a committed page has at most 2097152"):
        answer.take(results, folder)
    (results / "report/report.json").write_text(report.model_copy(update={"experiment": "x"}).model_dump_json())
    with pytest.raises(ValueError, match="x is no experiment of the answer; take one of dose, smollm2"):
        answer.take(results, folder)


def test_axes_have_round_ticks():
    assert answer.Axis("", 0, 600).ticks() == [0, 200, 400, 600]
    assert answer.Axis("", 0, 1).ticks() == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert answer.Axis("", 0.002, 40, log=True).ticks() == pytest.approx([0.01, 0.1, 1, 10])
    assert answer.Axis("", 0.3, 6, log=True).ticks() == pytest.approx([0.5, 1, 2, 5])
