"""Single runs: their state, their cost, the settings declared when they began, and their end."""

import json

import numpy as np
import pandas as pd
import pytest

from arc_precision.config.collapse import CollapseConfig
from arc_precision.config.report import ReportConfig
from arc_precision.contracts.steps import FACTS, SCHEMA_VERSION
from arc_precision.report.collapses import collapse_section, log_rank_test, survival
from arc_precision.report.origins import provenance
from arc_precision.report.results import Checkpoint, Evaluated, Results, Run
from arc_precision.report.runs import RunRecord, read_runs
from arc_precision.report.schema import CollapseRun
from arc_precision.report.task_scores import common_dtype
from arc_precision.statistics import kaplan_meier

RUN = Run("float16", 0)


def record(steps: int = 20, status: str = "running", device: str = "cuda", processes: int = 1) -> RunRecord:
    facts = {
        "status": status,
        "stopped_at": None if status == "running" else steps,
        "observed": {"device": device},
        "config": {"training": {"processes": processes}},
    }
    rows = pd.DataFrame({"step": np.arange(1, steps + 1), "step_s": 90.0})
    return RunRecord(RUN, rows if steps else pd.DataFrame(), facts if steps else None, 20)


@pytest.mark.parametrize(
    ("steps", "status", "state", "stopped_at"),
    [
        (0, "running", "missing", None),
        (7, "running", "running", None),
        (20, "running", "finished", None),
        (7, "failed", "failed", 7),
        (20, "failed", "failed", 20),
        (7, "collapsed", "collapsed", 7),
    ],
)
def test_the_state_of_a_run(steps, status, state, stopped_at):
    found = record(steps, status)
    assert (found.state, found.stopped_at) == (state, stopped_at)


def test_gpu_hours_count_every_gpu_of_a_run():
    assert record(processes=4).hours == pytest.approx(0.5)
    assert record(processes=4).gpu_hours == pytest.approx(2.0)
    assert record(device="cpu", processes=4).gpu_hours is None
    assert record(steps=0).gpu_hours is None


def test_what_counts_is_the_declaration_of_the_first_segment(tmp_path):
    """The last segment gives the facts, because another commit may finish a run than began it."""
    paths = [tmp_path / f"facts-{stop}.json" for stop in (20, 40)]
    for path, value in zip(paths, ("before", "after"), strict=True):
        facts = dict.fromkeys(FACTS) | {
            "schema_version": SCHEMA_VERSION,
            "status": "running",
            "declared": {"seeds": value},
        }
        path.write_text(json.dumps(facts | {"commit": value}))
    found = read_runs(Results(facts={RUN: paths}), [RUN], 40)[RUN]
    assert found.declared == {"seeds": "before"}
    assert found.facts["commit"] == "after"


@pytest.mark.parametrize(
    ("dtypes", "chosen"),
    [
        (("bfloat16", "float16", "float32"), "float32"),
        (("bfloat16", "float16"), "float16"),
        (("bfloat16",), "bfloat16"),
    ],
)
def test_arms_are_compared_in_the_most_precise_dtype_that_all_have(dtypes, chosen):
    have = {"a": dtypes, "b": (*dtypes, "float64")}
    scored = {Evaluated(Checkpoint(arm, 0, 5), "set", d): None for arm, found in have.items() for d in found}
    assert common_dtype(scored, ["a", "b"]) == chosen
    assert common_dtype(scored, ["a", "b", "not evaluated yet"]) == chosen
    alone = Evaluated(Checkpoint("c", 0, 5), "set", "float8")
    assert common_dtype(scored | {alone: None}, ["a", "b", "c"]) is None


def ended(arm: str, seed: int, steps: int, onset: int | None = None, state: str = "finished") -> CollapseRun:
    return CollapseRun(
        arm=arm, seed=seed, state="collapsed" if onset else state, steps=steps, onset_step=onset, detected_step=None,
        rule=None, threshold=None, running_max=None, recovered_step=None, warnings=[], alarms=[],
    )  # fmt: skip


def test_a_collapsed_run_ends_at_its_onset_and_not_at_its_last_step():
    """Of three runs over 100 steps one collapses at 30 and goes on, one fails at 60, one finishes."""
    runs = [ended("a", 0, 100, onset=30), ended("a", 1, 60, state="failed"), ended("a", 2, 100)]
    collapsed = survival(runs, "a", "collapsed", 0.95)
    assert (collapsed.step, collapsed.n_ended, collapsed.n_runs) == ([0, 30, 60, 100], 1, 3)
    assert collapsed.share == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3], abs=1e-5)
    assert collapsed.at_risk == [3, 3, 2, 1]
    both = survival(runs, "a", "collapsed or failed", 0.95)
    assert both.n_ended == 2
    assert both.share == pytest.approx([1, 2 / 3, 1 / 3, 1 / 3], abs=1e-5)


def test_the_level_of_the_report_reaches_the_survival_curves():
    runs = [ended("a", seed, 100, onset=30 if seed else None) for seed in range(4)]
    for level in (0.5, 0.95):
        section = collapse_section(runs, ["a"], ReportConfig(confidence=level), CollapseConfig(), [], [])
        steps, collapsed = np.array([100, 30, 30, 30]), np.array([False, True, True, True])
        expected = kaplan_meier(steps, collapsed, level).curve
        assert section.survival[0].low[1] == pytest.approx(expected["low"][1], rel=1e-5)


def test_an_arm_that_fails_before_the_other_collapses_is_compared_all_the_same():
    """With censored failures there is nothing to compare: at every collapse only one arm still runs."""
    runs = [ended("a", seed, 400, state="failed") for seed in range(5)]
    runs += [ended("b", seed, 1000, onset=600 + 100 * seed) for seed in range(5)]
    assert log_rank_test(runs, "a", "b", "collapsed", 0).p_value is None
    test = log_rank_test(runs, "a", "b", "collapsed or failed", 0)
    assert test.p_value == pytest.approx(2 / 252, abs=1e-6)
    assert test.statistic > 0


def test_gpu_time_of_training_counts_every_gpu_of_a_job(tmp_path):
    configs = {
        "a": {"device": "cuda", "training": {"processes": 4}},
        "b": {"device": "cuda", "training": {"processes": 1}},
    }
    results = Results()
    for rule, name in (("train", "train/a/seed-0/20"), ("train", "train/b/seed-0/20"), ("score", "score/a/20")):
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("s\tmax_rss\n100\t1\n")
        results.benchmarks.setdefault(rule, []).append(path)
    times = {time.rule: time for time in provenance(results, {}, configs, "x").rule_times}
    assert (times["train"].jobs, times["train"].wall_s, times["train"].gpu_s) == (2, 200, 500)
    assert times["score"].gpu_s is None
