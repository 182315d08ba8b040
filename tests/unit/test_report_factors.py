"""Factors of a grid: planted effects are found, and the report states the limits of the design."""

import numpy as np
import pandas as pd
import pytest
from report_fixture import Plan, make_results

from arc_precision.config.report import ReportConfig
from arc_precision.report import factors
from arc_precision.report.build import build_report
from arc_precision.report.factors import contrasts
from arc_precision.report.schema import LevelChange
from arc_precision.report.tables import tables
from arc_precision.report.task_scores import interval

PRECISION = {name: {"trainer_dtype": name, "sampler_dtype": name} for name in ("float16", "bfloat16")}
RATES = {"slow": {"training": {"learning_rate": 1e-4}}, "fast": {"training": {"learning_rate": 1e-2}}}
SCALES = {"small": {"training": {"lora": {"alpha": 16}}}, "large": {"training": {"lora": {"alpha": 64}}}}
GRID = {"grid": {"factors": {"precision": PRECISION, "rate": RATES, "scale": SCALES}}}
ARMS = tuple(f"{p}-{r}-{s}" for p in PRECISION for r in RATES for s in SCALES)
RULES = {"smoothing_steps": 5, "patience_steps": 5, "min_steps": 10, "baseline_steps": 10}


def factors_of(root, **changes):
    plan = {
        "arms": ARMS, "grids": GRID, "n_tasks": 60, "max_steps": 60, "segment_steps": 60, "evaluate_every": 60,
        "seeds": (0, 1, 2), "sets": ("arc-agi-1-evaluation",), "audits": False, "own_dtype": False, "collapse": RULES,
    }  # fmt: skip
    plan = Plan(**plan | changes)
    return build_report(make_results(root, plan), root)


def name(effect):
    return " x ".join(change.level for change in effect.changes)


def levels_of(*factors):
    frames = pd.MultiIndex.from_product(factors).to_frame(index=False)
    return {"-".join(row): dict(zip("abcdef", row, strict=False)) for row in frames.itertuples(index=False)}


def test_contrasts_by_hand():
    """Two factors of two levels: means over the other factor, and the difference of differences."""
    levels = levels_of(("a0", "a1"), ("b0", "b1"))
    found = {tuple(c.level for c in changes): weights for changes, weights in contrasts(
        levels, {"a": ["a0", "a1"], "b": ["b0", "b1"]})}  # fmt: skip
    assert found == {
        ("a1",): {"a1-b0": 0.5, "a1-b1": 0.5, "a0-b0": -0.5, "a0-b1": -0.5},
        ("b1",): {"a0-b1": 0.5, "a1-b1": 0.5, "a0-b0": -0.5, "a1-b0": -0.5},
        ("a1", "b1"): {"a1-b1": 1, "a0-b1": -1, "a1-b0": -1, "a0-b0": 1},
    }


def test_contrasts_find_the_parts_of_a_sum():
    """Every value is a sum of parts of one factor and of two, and nothing of three."""
    of_factor = {"a": ["a0", "a1", "a2"], "b": ["b0", "b1"], "c": ["c0", "c1"]}
    levels = levels_of(*of_factor.values())
    size = {"a1": 1.0, "a2": 3.0, "b1": 10.0, "c1": 100.0}
    both = {("a1", "b1"): 0.5, ("a2", "c1"): 7.0}

    def value(arm):
        chosen = set(levels[arm].values())
        return sum(size.get(level, 0) for level in chosen) + sum(v for pair, v in both.items() if chosen >= set(pair))

    found = {
        tuple(change.level for change in changes): sum(weight * value(arm) for arm, weight in weights.items())
        for changes, weights in contrasts(levels, of_factor)
    }
    # A main effect holds half of an interaction with a factor of two levels, a third with one of three.
    expected = {
        ("a1",): 1 + 0.25, ("a2",): 3 + 3.5, ("b1",): 10 + 0.5 / 3, ("c1",): 100 + 7 / 3, ("a1", "b1"): 0.5,
        ("a2", "b1"): 0, ("a1", "c1"): 0, ("a2", "c1"): 7, ("b1", "c1"): 0,
    }  # fmt: skip
    assert found == pytest.approx(expected)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The fast rate loses, with float16 more than with bfloat16; the scale does nothing."""
    gain = {arm: 0.0 for arm in ARMS} | {arm: -0.05 for arm in ARMS if "bfloat16-fast" in arm}
    gain |= {arm: -0.28 for arm in ARMS if arm.startswith("float16-fast")}
    collapse = {(arm, seed): 30 for arm in ARMS if arm.startswith("float16-fast") for seed in (0, 1)}
    return factors_of(
        tmp_path_factory.mktemp("results"), gain=gain, base_rate=0.3, seed_spread=0.0, n_tasks=200, collapse_at=collapse
    )


def test_effects_are_means_of_the_differences_of_arms(made):
    (grid,) = made.factors
    assert grid.levels == {"precision": ["bfloat16", "float16"], "rate": ["fast", "slow"], "scale": ["large", "small"]}
    assert (grid.n_arms, grid.n_seeds, grid.step) == (8, 3, 60)
    score = {arm.name: arm.score.value for arm in made.arms}

    def mean(*words):
        return np.mean([score[arm] for arm in ARMS if set(words) <= set(arm.split("-"))])

    found = {name(effect): effect.difference for effect in grid.effects}
    assert list(found) == [
        "float16", "slow", "small", "float16 x slow", "float16 x small", "slow x small",
    ]  # fmt: skip
    assert found["slow"].value == pytest.approx(mean("slow") - mean("fast"), abs=1e-5)
    with_slow, with_fast = (mean("float16", rate) - mean("bfloat16", rate) for rate in ("slow", "fast"))
    assert found["float16 x slow"].value == pytest.approx(with_slow - with_fast, abs=1e-5)


def test_an_effect_that_is_there_is_found_and_one_that_is_not_is_not(made):
    found = {name(effect): effect.difference for effect in made.factors[0].effects}
    assert found["slow"].low > 0 and found["float16 x slow"].low > 0 and found["float16"].high < 0
    for nothing in ("small", "float16 x small", "slow x small"):
        assert found[nothing].low < 0 < found[nothing].high


def test_intervals_hold_for_all_effects_together(tmp_path, monkeypatch):
    """Six effects: each has the level 1 - 0.05 / 6."""
    levels, frames = [], []

    def look(frame, report, bounds):
        levels.append(report.confidence)
        frames.append(frame)
        assert bounds == (-1.0, 1.0)
        return interval(frame, report, bounds)

    monkeypatch.setattr(factors, "interval", look)
    factors_of(tmp_path, seeds=(0,), n_tasks=5, max_steps=20, evaluate_every=20, segment_steps=20)
    assert levels == [pytest.approx(1 - 0.05 / 6)] * 6


def test_the_interval_of_an_interaction_is_twice_that_of_its_half():
    """The half always lies within [-1, 1]; the whole may not."""
    ones, zeros = (pd.DataFrame({seed: [value] * 9 for seed in (0, 1)}) for value in (1.0, 0.0))
    values = {"a": ones, "b": zeros, "c": zeros, "d": ones}
    weights = {"a": 1, "b": -1, "c": -1, "d": 1}
    found = factors._contrast(values, weights, 2, ReportConfig())
    half = interval(ones, ReportConfig(), (-1.0, 1.0))
    assert found.value == 2
    assert [found.value, found.low, found.high] == pytest.approx(
        [2 * half.value, 2 * half.low, 2 * half.high], rel=1e-5
    )


def test_survival_is_tested_within_the_other_factors(made):
    tests = {(test.change.level, test.endpoint): test for test in made.factors[0].survival}
    assert len(tests) == 6
    slow = tests["slow", "collapsed"]
    assert slow.change == LevelChange(factor="rate", level="slow", reference="fast")
    collapsed = [run.arm for run in made.collapse.runs if run.onset_step]
    assert len(collapsed) >= 4 and all("fast" in arm for arm in collapsed)
    assert (slow.n_ended, slow.reference_n_ended) == (0, len(collapsed))
    assert slow.n_runs == slow.reference_n_runs == 12
    assert slow.statistic < 0 and slow.p_smallest <= slow.p_value < 0.1
    assert tests["small", "collapsed"].p_value > 0.5


def test_what_the_design_cannot_tell_is_said(made):
    limits = " ".join(made.factors[0].limits)
    assert "precision changes sampler_dtype and trainer_dtype together: what each does alone is not known." in limits
    assert "Interactions of three factors or more are not looked at." in limits
    assert "rate changes" not in limits and "One seed" not in limits


def test_one_seed_is_said_to_tell_of_tasks_alone(tmp_path):
    (grid,) = factors_of(tmp_path, seeds=(0,), n_tasks=10, max_steps=20, evaluate_every=20, segment_steps=20).factors
    assert grid.limits[0].startswith("One seed per arm: intervals cover tasks alone")
    assert len(grid.effects) == 6 and all(effect.difference.low is not None for effect in grid.effects)


def test_a_grid_with_a_missing_arm_has_no_effects(tmp_path):
    (grid,) = factors_of(tmp_path, arms=ARMS[1:], n_tasks=5, max_steps=20, evaluate_every=20, segment_steps=20).factors
    assert grid.limits == ["7 of 8 combinations are run, so the factors cannot be told apart."]
    assert not grid.effects and not grid.survival


def test_nothing_is_said_of_effects_before_all_arms_are_evaluated(tmp_path):
    missing = ((ARMS[0], 0),)
    (grid,) = factors_of(
        tmp_path, seeds=(0,), missing=missing, n_tasks=5, max_steps=20, evaluate_every=20, segment_steps=20
    ).factors
    assert not grid.effects and grid.limits[0] == "No seed is evaluated in all arms at one step yet."


def test_arms_without_a_grid_have_no_factors(tmp_path):
    plan = Plan(n_tasks=5, max_steps=20, seeds=(0,), audits=False)
    assert build_report(make_results(tmp_path, plan), tmp_path).factors == []


def test_one_factor_is_compared_elsewhere(tmp_path):
    grids = {"grid": {"factors": {"precision": PRECISION}}}
    plan = Plan(arms=tuple(PRECISION), grids=grids, n_tasks=5, max_steps=20, seeds=(0,), audits=False)
    assert build_report(make_results(tmp_path, plan), tmp_path).factors == []


def test_the_numbers_are_in_a_table(made):
    rows = pd.DataFrame(tables(made)["factors"])
    assert len(rows) == 12 and set(rows["outcome"]) == {"pass@1", "collapsed", "collapsed or failed"}
    assert "precision: float16 for bfloat16 with rate: slow for fast" in set(rows["change"])
