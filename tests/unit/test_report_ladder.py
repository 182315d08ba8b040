"""The ladder: the ordered arms and their mismatch, against numbers by hand."""

import numpy as np
import pandas as pd
import pytest
from report_fixture import Plan, make_results

from arc_precision.mismatch.metrics import mismatch_metrics, step_design_effect
from arc_precision.report.build import build_report
from arc_precision.report.ladder import ladder_orders, ladder_section, measures, size_over_seeds
from arc_precision.report.schema import Interval

NOISE = {"float16-a": 0.1, "float16-b": 0.2, "float16-c": 0.3}
ARMS = (*NOISE, "bfloat16", "float16")


def config(dtype, sampler=None, weight_noise=0.0, logit_noise=0.0, rate=1e-3):
    noise = {"weight_noise": weight_noise, "logit_noise": logit_noise}
    return {
        "trainer_dtype": dtype, "sampler_dtype": sampler or dtype, "training": {"rate": rate}, "sampling": noise,
    }  # fmt: skip


def test_arms_that_differ_in_one_ordered_thing_are_a_ladder():
    configs = {
        "b": config("bfloat16"), "h": config("float16"), "f": config("float32"), "mixed": config("float16", "bfloat16"),
        "w2": config("float16", weight_noise=0.2), "w1": config("float16", weight_noise=0.1),
        "l1": config("float16", logit_noise=1.0), "other rate": config("bfloat16", rate=1e-2),
    }  # fmt: skip
    found = {order.by.split(" of ")[0]: (order.arms, order.rungs) for order in ladder_orders(configs)}
    assert found == {
        "significand bits": (["b", "h", "f"], [8, 11, 24]),
        "noise on LoRA B": (["h", "w1", "w2"], [0, 0.1, 0.2]),
        "noise on logits, nats": (["h", "l1"], [0, 1]),
    }


def test_two_arms_are_no_ladder():
    two = {"b": config("bfloat16"), "h": config("float16")}
    assert len(ladder_orders(two)) == 1
    assert ladder_section(two, {}, [], [], [], 50, 0.95) is None
    assert ladder_section(two | {"f": config("float32")}, {}, [], [], [], 50, 0.95) is not None


def test_the_mismatch_of_several_steps_is_that_of_all_their_sequences_together():
    rng = np.random.default_rng(0)
    batches = []
    for step in range(1, 6):
        sampler = -rng.exponential(size=(4 + step, 7))
        trainer = sampler + rng.normal(0.1 * step, 0.3, size=sampler.shape)
        batches.append((trainer, sampler, rng.uniform(size=sampler.shape) < 0.8))
    rows = [
        {"step": step} | {f"mismatch/{key}": value for key, value in mismatch_metrics(*batch).items()}
        for step, batch in enumerate(batches, start=1)
    ]
    rows.append({"step": 6} | dict.fromkeys(rows[0].keys() - {"step"}))
    found = measures(pd.DataFrame(rows), 3)
    together = mismatch_metrics(*(np.concatenate([batch[i] for batch in batches[:3]]) for i in range(3)))
    assert found["spread"] == pytest.approx(together["seq_log_ratio_std"])
    assert found["logp_diff_abs_mean"] == pytest.approx(together["logp_diff_abs_mean"])
    assert found["ess"] == pytest.approx(together["ess_seq"])
    columns = (f"mismatch/{key}" for key in ("seq_log_ratio_mean", "seq_log_ratio_std", "sequence_count"))
    assert found["design_effect"] == pytest.approx(step_design_effect(*([r[c] for r in rows[:3]] for c in columns)))
    assert measures(pd.DataFrame(rows), 5) == measures(pd.DataFrame(rows), 6) != found
    assert np.isnan(list(measures(pd.DataFrame(rows[5:]), 6).values())).all()


def test_a_size_has_its_interval_on_the_scale_of_ratios():
    """Logarithms 0, 1, 2: mean 1, standard error 1/sqrt(3), t(0.975, 2) = 4.3027."""
    found = size_over_seeds([1, np.e, np.e**2], 0.95)
    half = 4.302653 / np.sqrt(3)
    assert [found.value, found.low, found.high] == pytest.approx(np.exp([1, 1 - half, 1 + half]), rel=1e-5)
    assert size_over_seeds([2.0, None], 0.95) == Interval(value=2.0)
    assert size_over_seeds([None], 0.95) == Interval(value=None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    plan = Plan(
        arms=ARMS, n_tasks=100, max_steps=20, sets=("arc-agi-1-evaluation",), gain={"float16-c": -0.28}, base_rate=0.3,
        seed_spread=0.0,
        sampling={arm: {"weight_noise": noise} for arm, noise in NOISE.items()},
        mismatch={"float16-a": 30, "float16-b": 100, "float16-c": 300}, missing=(("float16-b", 2),), audits=False,
    )  # fmt: skip
    return build_report(make_results(root, plan), root)


def test_the_report_sets_outcome_against_what_was_measured(made):
    ladder = made.ladder
    assert {order.by: order.arms for order in ladder.orders} == {
        "significand bits of trainer and sampler": ["bfloat16", "float16"],
        "noise on LoRA B": ["float16", *NOISE],
    }
    assert ladder.steps == 50 and len(ladder.runs) == 3 * len(ARMS) - 1
    rows = {row.arm: row for row in ladder.arms}
    assert list(rows) == list(ARMS) and rows["float16-b"].n_seeds == 2
    spreads = [rows[arm].spread.value for arm in ("float16", "bfloat16", *NOISE)]
    assert spreads == sorted(spreads) and rows["float16-c"].spread.low > rows["float16-b"].spread.high
    assert spreads[-1] / spreads[0] == pytest.approx(300, rel=0.05)
    for row in rows.values():
        assert row.spread.low < row.spread.value < row.spread.high
        assert row.design_effect.value == pytest.approx(1, abs=0.7)  # the fixture's sequences err independently
    arms = {arm.name: arm for arm in made.arms}
    assert all(rows[arm].score == arms[arm].score for arm in ARMS)
    differences = {comparison.arm: comparison.over_seeds for comparison in made.comparisons}
    assert {arm: row.difference for arm, row in rows.items() if arm != "float16"} == differences
    assert rows["float16"].difference is None


def test_a_run_has_one_spread(made):
    """The row of a run and the ladder say the same, and null where nothing was trained."""
    of_runs = {(run.arm, run.seed): run.seq_log_ratio_std for run in made.runs}
    assert of_runs.pop(("float16-b", 2)) is None
    assert of_runs == {(run.arm, run.seed): run.spread for run in made.ladder.runs}


def test_the_sentences_claim_what_the_comparisons_allow(made):
    outcomes = {row.arm: row.outcome for row in made.ladder.arms}
    assert outcomes["float16-c"] == "difference" and outcomes["float16-a"] == "no_difference"
    first, second, third = made.ladder.sentences
    assert first.startswith("A difference from float16 was found in float16-c (spread ")
    assert second.startswith("None was found in float16-a (spread ") and "float16-c" not in second
    assert third == "Where none was found, the interval says how large one could still be."


def test_with_one_seed_no_arm_is_said_to_differ(tmp_path):
    plan = Plan(
        arms=("float32", "bfloat16", "float16"), seeds=(0,), n_tasks=10, max_steps=20, audits=False,
        sets=("arc-agi-1-evaluation",),
    )  # fmt: skip
    ladder = build_report(make_results(tmp_path, plan), tmp_path).ladder
    assert ladder.sentences == ["With these seeds and tasks nothing can be said about a difference from float16."]
    assert all(row.spread.low is None and row.spread.value > 0 for row in ladder.arms)


def test_without_an_evaluation_there_are_sizes_and_no_sentence_on_outcomes(tmp_path):
    plan = Plan(arms=("float32", "bfloat16", "float16"), n_tasks=5, max_steps=20, audits=False)
    slice = make_results(tmp_path, plan)
    runs = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    ladder = build_report(slice, tmp_path, runs).ladder
    assert ladder.sentences == ["No arm can be compared with the baseline yet."]
    assert all(row.score is None and row.spread.value for row in ladder.arms)
