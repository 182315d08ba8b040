"""From made-up results to report.json: the report finds the planted effects."""

import json
import re

import jsonschema
import numpy as np
import pandas as pd
import pytest
from report_fixture import Plan, make_results

from arc_precision.config.report import declared
from arc_precision.contracts.layout import Checkpoint, Evaluated, Run
from arc_precision.contracts.whole import DamagedFile
from arc_precision.report.build import build_report
from arc_precision.report.results import Selection, find_results
from arc_precision.report.runs import differences
from arc_precision.report.schema import Report, json_schema
from arc_precision.report.tables import TABLES, tables, write_tables

SET = "arc-agi-1-evaluation"
SMALL = {"sets": (SET,), "n_tasks": 40, "n_samples": 4, "max_steps": 20, "own_dtype": False, "audits": False}
COLLAPSE = {"smoothing_steps": 5, "patience_steps": 5, "min_steps": 10, "baseline_steps": 10}


def built(root, **changes) -> Report:
    return build_report(make_results(root, Plan(**SMALL | changes)), root)


def texts(notes) -> str:
    return " ".join(note.text for note in notes)


@pytest.fixture(scope="module")
def win(tmp_path_factory):
    """float16 learns, bfloat16 does not; everything else is the same, and every part of the report has data."""
    root = tmp_path_factory.mktemp("win")
    plan = Plan(
        **SMALL | {"sets": ("arc-agi-1-training", SET), "own_dtype": True, "audits": True},
        gain={"float16": 0.4, "bfloat16": 0.0},
    )
    return build_report(make_results(root, plan), root)


def test_a_clear_win(win):
    assert win.verdict.outcome == "difference"
    assert win.verdict.headline.startswith("Precision made a difference: float16 has a higher pass@1")
    (comparison,) = win.comparisons
    assert (comparison.step, comparison.n_seeds, comparison.n_tasks) == (20, 3, 40)
    assert comparison.over_seeds.low > 0
    assert comparison.score - comparison.baseline_score == pytest.approx(comparison.over_seeds.value, abs=1e-5)
    assert [difference.key for difference in win.differences] == ["sampler_dtype", "trainer_dtype"]
    assert all(difference.precision for difference in win.differences)
    assert win.missing == []


def test_scores_are_those_of_the_files(win):
    row = next(r for r in win.evaluation.rows if (r.set, r.dtype, r.arm, r.step) == (SET, "float32", "float16", 20))
    runs = [r for r in win.evaluation.runs if (r.set, r.dtype, r.arm, r.step) == (SET, "float32", "float16", 20)]
    assert row.n_seeds == len(runs) == 3
    assert row.metrics["pass@1"].value == pytest.approx(np.mean([run.metrics["pass@1"] for run in runs]), abs=1e-5)
    assert row.metrics["pass@4"].value == pytest.approx(row.metrics["solved_any"].value)
    assert sum(row.verdicts.values()) == pytest.approx(1, abs=1e-5)
    heat = next(heat for heat in win.evaluation.heat_maps if heat.set == SET)
    column = heat.columns.index("float16, step 20")
    assert np.mean(heat.rates[column]) == pytest.approx(row.metrics["pass@1"].value, abs=1e-5)


def test_cost_stands_beside_the_score(win):
    for row in win.evaluation.rows:
        assert row.metrics["tokens_per_task"].value == pytest.approx(sum(20 + s for s in range(row.n_samples)))
        assert row.seconds_per_task == pytest.approx(3.0 / row.n_tasks, rel=1e-5)


def test_arms_are_compared_in_the_dtype_they_share(win):
    assert win.settings.common_dtype == "float32"
    assert {row.dtype for row in win.evaluation.rows if row.arm == "float16"} == {"float32", "float16"}


def test_cards_show_what_an_arm_made_of_a_task(win):
    assert {choice for card in win.tasks.cards for choice in card.chosen_as} >= {"best", "disagree", "gained"}
    card = next(card for card in win.tasks.cards if "disagree" in card.chosen_as)
    rates = {rate.arm: rate.solved for rate in card.rates}
    assert rates["float16"] > rates["bfloat16"]
    best = next(completion for completion in card.completions if completion.arm == "float16")
    assert best.outputs == [pair.output for pair in card.pairs]
    assert best.test_correct == best.test_total


def test_audits_are_means_over_seeds(win):
    audited = next(step for step in win.mismatch if (step.arm, step.step) == ("bfloat16", 20))
    assert audited.n_seeds == 3
    assert [cause.cause for cause in audited.causes] == [
        "trainer_rounding", "engine", "sampler_rounding", "decode", "total",
    ]  # fmt: skip
    assert sum(cause.share for cause in audited.causes[:-1]) == pytest.approx(1, abs=1e-4)
    assert sum(row.token_count for row in audited.by_probability) == 3 * 32 * 200


def test_no_difference(tmp_path):
    report = built(tmp_path)
    assert report.verdict.outcome == "no_difference"
    assert report.comparisons[0].over_seeds.low < 0 < report.comparisons[0].over_seeds.high


def test_an_outcome_changed_after_the_run_is_named(tmp_path):
    before = {"report": {"primary_set": "another", "primary_metric": "pass@1"}, "collapse": {"patience_steps": 7}}
    found = texts(built(tmp_path, declared=before).warnings)
    assert "report.primary_set was another when float16, seed 0, float16, seed 1" in found
    assert "collapse.patience_steps was 7 when" in found and "and is 50 now" in found
    assert "primary_metric was" not in found


def test_what_was_added_after_the_first_run_is_named(tmp_path):
    plan = Plan(**SMALL, seeds=(0, 1))
    first = make_results(tmp_path, plan)
    more = Plan(**SMALL, seeds=(0, 1, 2, 3), declared=declared(first))
    slice = make_results(tmp_path, more)
    found = build_report(slice, tmp_path)
    assert "seeds: 2, 3 added after float16, seed 0, float16, seed 1" in texts(found.warnings)
    assert found.verdict.sentences[0].startswith("seeds changed after runs had begun")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"max_steps": 10}, "max_steps was 10 when"),
        ({"evaluation": {"n_samples": 2}}, "evaluation.n_samples was 2 when"),
        ({"evaluation_sets": {SET: {"n_tasks": 7}}}, f"evaluation_sets.{SET}.n_tasks was 7 when"),
        ({"report": {"confidence": 0.9}}, "report.confidence was 0.9 when"),
    ],
)
def test_the_size_of_an_experiment_and_its_level_are_declared(win_files, changed, sentence):
    slice, root = win_files
    declaration = {**declared(slice), **changed}
    for path in root.glob("runs/*/seed-*/facts-20.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"declared": declaration}))
    assert sentence in texts(build_report(slice, root).warnings)


@pytest.fixture(scope="module")
def win_files(tmp_path_factory):
    root = tmp_path_factory.mktemp("declared")
    return make_results(root, Plan(**SMALL, seeds=(0, 1))), root


def test_an_outcome_that_was_not_changed_is_not(win):
    assert "the verdict is exploratory" not in texts(win.warnings)


def test_one_seed(tmp_path):
    report = built(tmp_path, seeds=(0,), gain={"float16": 0.4, "bfloat16": 0.0})
    assert report.verdict.outcome == "inconclusive"
    assert "cannot say whether precision matters" in report.verdict.headline
    assert report.comparisons[0].over_seeds.low is None
    assert "One seed" in texts(report.warnings)
    assert report.collapse.survival == []


def test_a_collapsed_arm(tmp_path):
    onset = {("bfloat16", seed): 40 for seed in range(3)}
    report = built(tmp_path, max_steps=60, segment_steps=20, collapse=COLLAPSE, collapse_at=onset)
    found = {(run.arm, run.seed): run.onset_step for run in report.collapse.runs}
    assert {run for run, step in found.items() if step is not None} == set(onset)
    assert all(abs(found[run] - 40) <= 5 for run in onset)
    assert report.arms[1].onsets == [found["bfloat16", seed] for seed in range(3)]
    assert report.arms[1].states == {"collapsed": 3}
    assert report.collapse.log_rank[0].p_value == pytest.approx(0.1, abs=0.01)  # three against three cannot give less
    assert "3 of 3 in bfloat16" in " ".join(report.verdict.sentences)
    assert {text.when for text in report.collapse.completions} == {"before", "after"}
    assert report.verdict.outcome == "difference"  # collapsed runs stay in the mean


def test_failed_runs_are_a_second_end_point(tmp_path):
    """float16 fails early in all runs, bfloat16 in none. Collapse alone does not show it."""
    fails = {("float16", seed): 10 + seed for seed in range(3)}
    report = built(tmp_path, max_steps=40, segment_steps=10, fail_at=fails, collapse=COLLAPSE)
    assert [(run.state, run.stopped_at) for run in report.runs if run.arm == "float16"] == [
        ("failed", 10), ("failed", 11), ("failed", 12),
    ]  # fmt: skip
    assert report.arms[0].states == {"failed": 3} and report.arms[0].onsets == []
    curves = {(curve.arm, curve.endpoint): curve for curve in report.collapse.survival}
    assert curves["float16", "collapsed"].share == [1, 1, 1, 1]
    both = curves["float16", "collapsed or failed"]
    assert (both.step, both.n_ended) == ([0, 10, 11, 12], 3)
    assert both.share == pytest.approx([1, 2 / 3, 1 / 3, 0], abs=1e-5)
    tests = {test.endpoint: test for test in report.collapse.log_rank}
    assert tests["collapsed"].p_value is None
    assert tests["collapsed or failed"].p_value == pytest.approx(0.1)
    text = " ".join(report.verdict.sentences)
    assert "Training failed, with losses that stayed non-finite, in float16 seed 0, float16 seed 1" in text
    assert "Runs that collapsed or failed: 3 of 3 in float16 and 0 of 3 in bfloat16." in text
    assert "So few runs cannot show" in text
    # Step 1 of every run of float16 is skipped with a finite loss.
    assert "float16: loss or gradient was not finite in 9 of 33 steps." in texts(report.warnings)
    assert "float16: the loss scaler skipped 12 of 33 updates" in texts(report.warnings)


def test_the_intervals_of_several_comparisons_hold_together(tmp_path):
    """Bonferroni: with two comparisons each has the level 0.975, where the table of evaluations has 0.95."""
    report = built(tmp_path, arms=("float16", "float32", "bfloat16"), common_dtype="float32")
    rows = {row.arm: row.differences["pass@1"] for row in report.evaluation.rows if row.differences}
    assert [comparison.arm for comparison in report.comparisons] == ["float16", "float32"]
    for comparison in report.comparisons:
        alone, together = rows[comparison.arm], comparison.over_seeds
        assert together.high - together.low > 1.1 * (alone.high - alone.low)


def test_nothing_solved_at_all_leaves_room_for_a_difference(tmp_path):
    """A model that solves nothing, the commonest first result: no interval has the width 0."""
    for seeds in ((0, 1), (0,)):
        report = built(tmp_path / str(len(seeds)), base_rate=0.0, gain={"float16": 0, "bfloat16": 0}, seed_spread=0.0,
                       seeds=seeds)  # fmt: skip
        (comparison,) = report.comparisons
        assert comparison.over_tasks.low < -0.02 < 0.02 < comparison.over_tasks.high
        assert report.arms[0].score.low == 0 and report.arms[0].score.high > 0.05
        for row in report.evaluation.rows:
            for interval in (row.metrics["pass@1"], *(kind["pass@1"] for kind in (row.differences, row.gains) if kind)):
                assert interval.low < interval.high
        text = " ".join([report.verdict.headline, *report.verdict.sentences])
        assert "+0.0 to +0.0" not in text and "up to 0.0" not in text
    assert report.verdict.outcome == "inconclusive"


def test_a_run_that_is_missing(tmp_path):
    report = built(tmp_path, missing=(("bfloat16", 2),))
    assert next(run for run in report.runs if (run.arm, run.seed) == ("bfloat16", 2)).state == "missing"
    assert "bfloat16, seed 2: no step yet." in texts(report.missing)
    assert "not evaluated" not in texts(report.missing)  # not worth a warning
    assert "Preliminary: 5 of 6 runs have ended." in report.verdict.sentences
    assert report.comparisons[0].n_seeds == 2


def test_unequal_steps(tmp_path):
    report = built(tmp_path, max_steps=40, segment_steps=20, stop_at={("float16", 0): 20})
    assert report.comparisons[0].step == 20
    assert "float16, seed 0: at step 20 of 40." in texts(report.missing)
    assert "Compared at step 20 of 40" in " ".join(report.verdict.sentences)
    assert report.arms[0].steps_min == 20 and report.arms[0].steps_max == 40


def test_metrics_that_are_not_finite(tmp_path):
    report = built(tmp_path, nan_from={("float16", 0): 8, ("float16", 1): 1})
    assert "float16: loss or gradient was not finite" in texts(report.warnings)
    by_seed = {run.seed: run for run in report.runs if run.arm == "float16"}
    assert by_seed[0].reward_final is None and by_seed[1].logp_diff_abs_mean is None
    assert by_seed[0].logp_diff_abs_mean > 0
    reward = next(panel for panel in report.curves.panels if panel.key == "reward_mean")
    line = next(run for run in reward.runs if (run.arm, run.seed) == ("float16", 0))
    assert line.value[6] is not None and line.value[7:] == [None] * 13
    assert json.loads(report.model_dump_json())["runs"][0]["reward_final"] is None


def test_nothing_there_at_all(tmp_path):
    slice = make_results(tmp_path / "elsewhere", Plan(**SMALL, seeds=(0,)))
    report = build_report(slice, tmp_path / "empty")
    assert report.verdict.headline == "Nothing can be compared yet."
    assert "No checkpoint is evaluated yet." in texts(report.missing)
    assert [run.state for run in report.runs] == ["missing", "missing"]


def test_confounds_and_traps_are_flagged(tmp_path):
    report = built(
        tmp_path,
        gain={"float16": 0.4, "bfloat16": 0.0},
        top_p={"float16": 0.95},
        overrides={"bfloat16": {"learning_rate": 0.123, "head_dtype": "float32"}},
        isolation={"float16": "rlimit"},
        environment={
            "float16": {"VLLM_BATCH_INVARIANT": "1", "OMP_NUM_THREADS": "2"},
            "bfloat16": {"OMP_NUM_THREADS": "2"},
        },
        dirty=True,
    )
    assert {d.key for d in report.differences if not d.precision} == {"sampling.top_p", "training.learning_rate"}
    assert "cannot be put down to precision" in report.verdict.headline
    serious = texts(note for note in report.warnings if note.level == "serious")
    assert "bfloat16: the LM head is in float32 in the trainer and in bfloat16 in the sampler" in serious
    assert "training.head_dtype" in {d.key for d in report.differences if d.precision}
    for words in ("top_p 0.95", "Sandbox level differs between arms", "Uncommitted code"):
        assert words in serious
    assert "variable VLLM_BATCH_INVARIANT differs between arms: float16 1; bfloat16 not set" in serious
    assert "OMP_NUM_THREADS" not in texts(report.warnings)


def test_the_same_files_give_the_same_report(tmp_path):
    slice = make_results(tmp_path, Plan(**SMALL))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    first = build_report(slice, tmp_path, files).model_dump_json()
    assert build_report(slice, tmp_path, files[::-1]).model_dump_json() == first
    assert build_report(slice, tmp_path).model_dump_json() == first


def test_published_schema_is_in_step_and_holds(win):
    from test_report_steps import ROOT

    published = (ROOT / "workflow/schemas/report.schema.json").read_text()
    assert published == json_schema(), "run: PYTHONPATH=workflow python -m arc_precision.report.schema"
    jsonschema.validate(json.loads(win.model_dump_json()), json.loads(published))


def test_tables_hold_the_same_numbers(win, tmp_path):
    write_tables(win, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.csv")} == set(TABLES) == set(tables(win))
    evaluation = pd.read_csv(tmp_path / "evaluation.csv").query(
        f"set == '{SET}' and dtype == 'float32' and arm == 'float16' and step == 20 and metric == 'pass@1'"
    )
    assert evaluation.query("kind == 'metrics'")["value"].item() == pytest.approx(win.comparisons[0].score)
    assert evaluation.query("kind == 'differences'")["value"].item() == win.comparisons[0].over_seeds.value


def test_files_of_another_configuration_are_passed_over(tmp_path):
    make_results(tmp_path, Plan(**SMALL | {"max_steps": 40}, seeds=(0, 1)))
    found = find_results(tmp_path, None, Selection(("float16",), (1,), (SET,), 20))
    assert list(found.steps) == [Run("float16", 1)]
    assert [path.name for path in found.steps[Run("float16", 1)]] == ["steps-20.jsonl"]
    assert set(found.scores) == {
        Evaluated(Checkpoint("base", None, 0), SET, "float32"),
        Evaluated(Checkpoint("float16", 1, 20), SET, "float32"),
    }


def test_files_that_are_being_written(tmp_path):
    slice = make_results(tmp_path, Plan(**SMALL, seeds=(0,)))
    steps, scores = (
        tmp_path / "runs/float16/seed-0/steps-20.jsonl",
        next((tmp_path / "scores/float16").rglob("*.parquet")),
    )
    steps.write_text("\n".join(steps.read_text().splitlines()[:7])[:-9])
    scores.write_bytes(scores.read_bytes()[:-3])
    (tmp_path / "runs/float16/seed-0/facts-20.json").unlink()  # a segment writes its facts at its end
    report = build_report(slice, tmp_path)
    assert report.runs[0].steps == 6
    assert "float16, seed 0: at step 6 of 20." in texts(report.missing)
    assert report.comparisons == []


@pytest.mark.parametrize("name", ["steps-20.jsonl", "timing-20.jsonl", "facts-20.json", "chain.json", ".parquet"])
@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_a_cut_file_is_never_believed(tmp_path, name, kept):
    slice = make_results(tmp_path, Plan(**SMALL | {"audits": True}, seeds=(0,)))
    files = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    path = next(file for file in files if file.name.endswith(name))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    name = re.escape(str(path))
    sentence = rf"{name}: damaged \(.*\); make it again with: snakemake --forcerun {name}"
    with pytest.raises(DamagedFile, match=sentence):
        build_report(slice, tmp_path, files)
    path.write_bytes(whole)
    build_report(slice, tmp_path, files)


def test_times_that_were_not_written_stop_no_report(tmp_path):
    slice = make_results(tmp_path, Plan(**SMALL, seeds=(0,)))
    folder = tmp_path / "benchmarks" / "score"
    folder.mkdir(parents=True)
    for name, text in (("a", ""), ("b", "cpu_time\n3\n"), ("c", "s\th:m:s\n4.5\t0:00:04\n")):
        (folder / f"{name}.tsv").write_text(text)
    [times] = build_report(slice, tmp_path).provenance.rule_times
    assert (times.rule, times.jobs, times.wall_s) == ("score", 3, 4.5)


def test_a_step_that_is_left_out_or_stands_twice_is_seen(tmp_path):
    slice = make_results(tmp_path, Plan(**SMALL, seeds=(0,)))
    steps = tmp_path / "runs/float16/seed-0/steps-20.jsonl"
    lines = steps.read_text().splitlines(keepends=True)
    for changed in (lines[:-1], lines[1:], [*lines[:5], *lines[6:]], [*lines[:5], *lines[4:]], lines[::-1]):
        steps.write_text("".join(changed))
        with pytest.raises(DamagedFile, match=rf"steps-20.jsonl: damaged \({len(changed)} rows where steps 1 to 20"):
            build_report(slice, tmp_path)


def test_a_checkpoint_that_is_not_evaluated(tmp_path):
    slice = make_results(tmp_path, Plan(**SMALL | {"max_steps": 40}))
    (tmp_path / f"scores/float16/seed-1/step-40/{SET}.float32.parquet").unlink()
    report = build_report(slice, tmp_path)
    assert f"float16, seed 1: not evaluated on {SET} in float32 at step 40." in texts(report.missing)
    assert report.comparisons[0].step == 20


def test_an_unknown_primary_metric_is_named(tmp_path):
    slice = make_results(tmp_path, Plan(**SMALL, seeds=(0,)))
    slice = slice.model_copy(update={"report": slice.report.model_copy(update={"primary_metric": "pass@3"})})
    with pytest.raises(ValueError, match=r"report.primary_metric: 'pass@3' is not measured; write one of .*pass@4"):
        build_report(slice, tmp_path)


def test_a_file_from_elsewhere_is_refused(tmp_path):
    with pytest.raises(ValueError, match="give files of this experiment only"):
        find_results(tmp_path / "results", [tmp_path / "other.json"], Selection(("a",), (0,), (SET,), 20))


def test_differences_are_found_at_any_depth():
    assert differences({"a": {"x": {"y": 1, "z": 2}}, "b": {"x": {"y": 1, "z": 3}, "w": 0}}) == {
        "w": {"a": None, "b": 0},
        "x.z": {"a": 2, "b": 3},
    }
