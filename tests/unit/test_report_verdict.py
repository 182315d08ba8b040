"""The sentences at the top, on planted numbers: a pure function, so no files are needed."""

import pytest

from arc_precision.report.changes import Change
from arc_precision.report.results import Run
from arc_precision.report.schema import (
    ArmRow,
    Collapse,
    Comparison,
    Detectable,
    Difference,
    EvaluationRow,
    Interval,
    LogRankTest,
    RunRow,
    Settings,
)
from arc_precision.report.verdict import outcome_of, verdict
from arc_precision.report.written_numbers import difference_text, range_text


def settings_part(**changes) -> Settings:
    plain = {
        "baseline_arm": "bfloat16", "primary_set": "evaluation", "primary_metric": "pass@1", "confidence": 0.95,
        "bootstrap_samples": 100, "smoothing_steps": 5, "max_steps": 1000, "arms": ["float16", "bfloat16"],
        "seeds": [0, 1, 2], "sets": ["evaluation"], "common_dtype": "float32",
    }  # fmt: skip
    return Settings(**plain | changes)


def arm(
    name: str, mismatch: float | None = None, onsets: tuple[int, ...] = (), seeds: int = 3, failed: int = 0
) -> ArmRow:
    return ArmRow(
        name=name, is_baseline=name == "bfloat16", trainer_dtype=name, sampler_dtype=name, trainer_observed=name,
        sampler_observed=name, seeds_planned=3, seeds_found=seeds, steps_min=1000, steps_max=1000,
        states={"finished": seeds - failed, "failed": failed}, onsets=list(onsets), score=None,
        logp_diff_abs_mean=Interval(value=mismatch), hours=None, gpu_hours=None,
    )  # fmt: skip


def run(arm: str, seed: int, state: str = "finished") -> RunRow:
    return RunRow(
        arm=arm, seed=seed, state=state, stopped_at=None, steps=1000, applied_steps=1000, asked={}, observed={},
        reward_final=None, reward_at_equal_updates=None, logp_diff_abs_mean=None, seq_log_ratio_std=None, score=None,
        hours=None, gpu_hours=None,
    )  # fmt: skip


def comparison(low: float | None, high: float | None, arm: str = "float16", **changes) -> Comparison:
    value = 0.05 if low is None else (low + high) / 2
    over_seeds = Interval(value=value, low=low, high=high)
    plain = {
        "arm": arm, "baseline": "bfloat16", "step": 1000, "n_seeds": 3, "n_tasks": 60, "score": 0.2 + value,
        "baseline_score": 0.2, "over_tasks": Interval(value=value, low=value - 0.01, high=value + 0.01),
        "over_seeds": over_seeds, "by_seed": [value] * 3,
        "detectable": Detectable(difference=0.07, by_seeds=0.06, by_tasks=0.036), "outcome": outcome_of(over_seeds),
    }  # fmt: skip
    return Comparison(**plain | changes)


def collapse_part(
    p: float | None = None, first_possible_step: int = 250, earlier: float = 1.0, p_smallest: float | None = 0.008
) -> Collapse:
    tests = [
        LogRankTest(
            arm="float16", baseline="bfloat16", endpoint=endpoint, statistic=sign * earlier, p_value=p,
            p_smallest=p_smallest, reason=None if p else "too few",
        )
        for endpoint, sign in (("collapsed", 1), ("collapsed or failed", -1))
    ]  # fmt: skip
    return Collapse(
        first_possible_step=first_possible_step, rules={}, runs=[], signs=[], survival=[], log_rank=tests,
        completions=[], training=[],
    )  # fmt: skip


def evaluated(arm: str, gain: Interval | None = None, step: int = 1000) -> EvaluationRow:
    return EvaluationRow(
        seconds_per_task=None,
        set="evaluation", dtype="float32", arm=arm, step=step, n_seeds=3, n_tasks=60, n_samples=4, seen_share=0,
        sandbox_errors=0, metrics={}, differences={}, gains={"pass@1": gain} if gain else {}, verdicts={},
    )  # fmt: skip


def judge(
    comparisons, *, arms=None, runs=None, differences=(), evaluation=(), collapse=None, settings=None, changes=()
):
    settings, collapse = settings or settings_part(), collapse or collapse_part()
    arms = arms or [arm("float16", 0.002), arm("bfloat16", 0.016)]
    runs = runs or [run(name, seed) for name in ("float16", "bfloat16") for seed in range(3)]
    found = verdict(settings, arms, runs, comparisons, list(differences), list(evaluation), collapse, list(changes))
    return found, " ".join([found.headline, *found.sentences])


def test_a_clear_win():
    found, text = judge([comparison(0.04, 0.10)])
    assert found.outcome == "difference"
    assert found.headline == "Precision made a difference: float16 has a higher pass@1 on evaluation than bfloat16."
    assert "27.0 % against 20.0 %, a difference of +7.0 points (95 % interval +4.0 to +10.0 points)" in text
    assert "Compared: 3 paired seeds per arm on 60 tasks with" in text


def test_a_clear_loss():
    found, _ = judge([comparison(-0.10, -0.04)])
    assert found.outcome == "difference"
    assert "float16 has a lower pass@1" in found.headline


def test_no_difference_says_how_large_one_could_still_be():
    found, text = judge([comparison(-0.03, 0.05)])
    assert found.outcome == "no_difference"
    assert found.headline == "No difference was found between float16 and bfloat16 in pass@1 on evaluation."
    assert "It is not ruled out that float16 is truly 5.0 points higher or 3.0 points lower." in text
    assert (
        "If other seeds and tasks spread as these did, the smallest difference that 3 seeds and 60 tasks show with "
        "80 % power is about 7.0 points. The seeds limit it: more of them would lower it, but not below 3.6 points "
        "with as many tasks."
    ) in text


def test_tasks_are_a_limit_that_seeds_do_not_lift():
    tasks_limit = Detectable(difference=0.0697, by_seeds=0.01, by_tasks=0.069)
    _, text = judge([comparison(-0.03, 0.05, detectable=tasks_limit)])
    assert "The tasks limit it: with as many, no number of seeds brings it below 6.9 points." in text
    _, text = judge([comparison(-0.03, 0.05, detectable=None)])
    assert "3 seeds and 60 tasks cannot show a difference of any size with 80 % power" in text


def test_where_few_tasks_differ_nothing_is_said_of_any_number_of_seeds():
    """The floor counts two tasks more that differ; it falls when seeds show others to differ."""
    few_differ = Detectable(difference=0.034, by_seeds=0.031, by_tasks=0.0)
    _, text = judge([comparison(-0.024, 0.024, detectable=few_differ)])
    assert "is about 3.4 points. Few tasks differed, or they differed little, and others may differ more. With" in text
    assert "limit it" not in text and "any number" not in text


@pytest.mark.parametrize("value", [0.0, -0.0, 4e-4, -4e-4])
def test_a_difference_that_rounds_to_zero_has_no_sign(value):
    assert difference_text(value, "pass@1") == "0.0 points"
    assert range_text(value, 0.02, "pass@1") == "0.0 to +2.0 points"
    assert difference_text(0.0 * value, "reward") == "0"


def test_one_seed_claims_nothing():
    found, text = judge([comparison(None, None, n_seeds=1)], settings=settings_part(seeds=[0]))
    assert found.outcome == "inconclusive"
    assert found.headline == "One seed per arm: this experiment cannot say whether precision matters."
    assert "the results of other seeds are not known" in text
    assert "made a difference" not in text


def test_one_seed_claims_nothing_about_collapse():
    arms = [arm("float16", seeds=1), arm("bfloat16", onsets=(700,), seeds=1)]
    _, text = judge([comparison(None, None)], arms=arms)
    assert "0 of 1 in float16 and 1 of 1 in bfloat16 (at step 700)" in text
    assert "nothing can be concluded about collapse" in text
    assert "log-rank" not in text


@pytest.mark.parametrize(
    ("p", "earlier", "claim"),
    [
        (0.01, -3.0, "float16 collapses later than bfloat16 (log-rank test, p = 0.01)"),
        (0.01, 3.0, "float16 collapses earlier than bfloat16 (log-rank test, p = 0.01)"),
        (0.33, -1.0, "float16 collapses not measurably later or earlier than bfloat16 (log-rank test, p = 0.33)"),
    ],
)
def test_a_collapsed_arm(p, earlier, claim):
    arms = [arm("float16"), arm("bfloat16", onsets=(600, 700, 800))]
    _, text = judge([comparison(0.04, 0.10)], arms=arms, collapse=collapse_part(p, earlier=earlier))
    assert "3 of 3 in bfloat16 (at step 600, 700 and 800)" in text
    assert claim in text


def test_too_few_runs_cannot_show_a_difference_in_collapse():
    arms = [arm("float16"), arm("bfloat16", onsets=(600, 700, 800))]
    _, text = judge([comparison(0.04, 0.10)], arms=arms, collapse=collapse_part(0.1, p_smallest=0.1))
    assert "So few runs cannot show whether float16 collapses earlier or later than bfloat16" in text
    assert "(log-rank test, p = 0.1; they give no p below 0.1, and the level is 0.05)" in text
    assert "not measurably" not in text


def test_the_level_is_divided_among_the_arms():
    arms = [arm("float16"), arm("float32"), arm("bfloat16", onsets=(600,))]
    settings = settings_part(arms=["float16", "float32", "bfloat16"])
    _, text = judge([comparison(0.04, 0.10)], arms=arms, settings=settings, collapse=collapse_part(0.03))
    assert "float16 collapses not measurably later or earlier than bfloat16 (log-rank test, p = 0.03)" in text


def test_failed_runs_are_counted_beside_collapsed_ones():
    arms = [arm("float16", failed=2), arm("bfloat16", onsets=(600, 700, 800))]
    _, text = judge([comparison(0.04, 0.10)], arms=arms, collapse=collapse_part(0.01, earlier=-3.0))
    assert "Runs that collapsed: 0 of 3 in float16 and 3 of 3 in bfloat16" in text
    assert "float16 collapses later than bfloat16" in text
    assert "Runs that collapsed or failed: 2 of 3 in float16 and 3 of 3 in bfloat16." in text
    assert "float16 collapses or fails earlier than bfloat16" in text
    _, text = judge([comparison(0.04, 0.10)])
    assert "collapsed or failed" not in text


def test_failures_are_told_where_a_collapse_could_not_be_seen():
    arms = [arm("float16", failed=3), arm("bfloat16")]
    _, text = judge([comparison(-0.01, 0.01)], arms=arms, settings=settings_part(max_steps=20))
    assert "cannot show a collapse" in text and "Runs that collapsed or failed: 3 of 3 in float16" in text


def test_a_design_that_changed_confirms_nothing():
    changes = [Change("seeds", [0, 1], [0, 1, 2], (Run("float16", 0),)), Change("max_steps", 5, 9, ())]
    found, text = judge([comparison(0.04, 0.10)], changes=changes)
    assert found.headline.startswith("A difference that is not confirmed, as the design was changed after the fact: ")
    assert found.sentences[0].startswith("seeds and max_steps changed after runs had begun")
    assert "Precision made a difference" not in text


def test_nothing_that_varies_is_no_verdict():
    found, text = judge([comparison(None, None, over_tasks=Interval(value=0.0))])
    assert found.outcome == "inconclusive"
    assert found.headline.startswith("No run and no task differs in pass@1 on evaluation: this experiment cannot say")
    assert "The results of other seeds and tasks are not known." in text


def test_runs_too_short_for_a_collapse():
    _, text = judge([comparison(-0.01, 0.01)], settings=settings_part(max_steps=20))
    assert "Runs of 20 steps cannot show a collapse: by the rules of the configuration it takes at least 250." in text


def test_a_missing_run():
    runs = [run("float16", 0), run("float16", 1, "running"), run("bfloat16", 0), run("bfloat16", 1, "missing")]
    _, text = judge([comparison(-0.01, 0.01)], runs=runs)
    assert "Preliminary: 2 of 4 runs have ended." in text


def test_nothing_to_compare():
    found, text = judge([])
    assert found.outcome == "nothing"
    assert found.headline == "Nothing can be compared yet."
    assert "This holds" not in text


def test_unequal_steps():
    _, text = judge([comparison(-0.01, 0.01, step=400)])
    assert "Compared at step 400 of 1000: the last that every evaluated run of both arms has." in text


def test_a_failed_run_and_no_finite_mismatch():
    arms = [arm("float16", None), arm("bfloat16", None)]
    _, text = judge([comparison(-0.01, 0.01)], arms=arms, runs=[run("float16", 0, "failed"), run("bfloat16", 0)])
    assert "Training failed, with losses that stayed non-finite, in float16 seed 0" in text
    assert "mismatch of the baseline was not measured" in text


def test_mismatch_ratio_and_its_absence():
    _, text = judge([comparison(-0.01, 0.01)])
    start = "In these runs the training-inference mismatch was"
    assert f"{start} 8 times as large in bfloat16 as in float16: mean |d| was 0.002 nats in float16 and 0.016" in text
    _, text = judge([comparison(-0.01, 0.01)], arms=[arm("float16", 1.9e-7), arm("bfloat16", 0.00163)])
    assert "8600 times as large in bfloat16 as in float16: mean |d| was 1.9e-7 nats in float16 and 0.0016" in text
    _, text = judge([comparison(-0.01, 0.01)], arms=[arm("float16", 0.016), arm("bfloat16", 0.0162)])
    assert f"{start} of about one size: mean |d| was 0.016 nats in float16" in text


def test_a_mismatch_whose_seeds_overlap_has_no_ratio():
    arms = [arm("float16", 0.002), arm("bfloat16", 0.004)]
    arms[0].logp_diff_abs_mean = Interval(value=0.002, low=0.001, high=0.003)
    for low, overlap in ((0.003, True), (0.0031, False)):
        arms[1].logp_diff_abs_mean = Interval(value=0.004, low=low, high=0.005)
        _, text = judge([comparison(-0.01, 0.01)], arms=arms)
        assert (
            "not of a size that tells the arms apart, as their seeds overlap: mean |d| was 0.002" in text
        ) is overlap
        assert ("2 times as large in bfloat16" in text) is not overlap


def test_a_difference_of_more_than_precision_is_not_put_down_to_precision():
    differences = [
        Difference(key="trainer_dtype", values={}, precision=True),
        Difference(key="training.learning_rate", values={}, precision=False),
    ]
    found, text = judge([comparison(0.04, 0.10)], differences=differences)
    assert found.headline.endswith("this cannot be put down to precision.")
    assert "The arms differ in more than precision: training.learning_rate." in text


def test_several_comparisons_hold_together():
    comparisons = [comparison(-0.01, 0.02), comparison(0.03, 0.06, arm="float32")]
    found, text = judge(comparisons)
    assert found.outcome == "difference"
    assert found.headline == "Precision made a difference: float32 has a higher pass@1 on evaluation than bfloat16."
    assert "Intervals of the 2 comparisons hold together, at 95 %." in text


def test_arms_that_learnt_nothing():
    nothing = Interval(value=0.0, low=-0.02, high=0.02)
    rows = [evaluated("float16", nothing), evaluated("bfloat16", nothing), evaluated("float16", nothing, step=500)]
    _, text = judge([comparison(-0.01, 0.01)], evaluation=rows)
    assert "a gain over the base model was not shown (95 % interval: float16 −2.0 to +2.0 points and bfloat16" in text
    assert "the effect of precision on learning remains open" in text
    learnt = Interval(value=0.1, low=0.05, high=0.15)
    _, text = judge(
        [comparison(-0.01, 0.01)], evaluation=[evaluated("float16", nothing), evaluated("bfloat16", learnt)]
    )
    assert "a gain over the base model was not shown (95 % interval: float16 −2.0 to +2.0 points)." in text
    assert "no arm" not in text
