"""A grid of arms becomes plain arms when the configuration is read, and an impossible grid is refused."""

import json
import os
import subprocess
import sys

import pytest
from test_config import DEFAULT, ROOT

from arc_precision.config.base import as_words, from_words, lay_over
from arc_precision.config.experiment import ConfigError, load_experiment
from arc_precision.config.report import ReportSlice

PRECISION = {name: {"trainer_dtype": name, "sampler_dtype": name} for name in ("float16", "bfloat16")}
RATES = {"slow": {"training": {"learning_rate": 1e-4}}, "fast": {"training": {"learning_rate": 1e-2}}}
GRID = {"common": {"training": {"beta": 0.1}}, "factors": {"precision": PRECISION, "rate": RATES}}
NAMES = ("float16-slow", "float16-fast", "bfloat16-slow", "bfloat16-fast")


def loaded(grids, run_arms=("mine",), baseline="float16-slow", **changes):
    changes = {"arm_grids": grids, "run_arms": list(run_arms), "report": {"baseline_arm": baseline}, **changes}
    return load_experiment(lay_over(DEFAULT, changes))


def test_every_combination_is_an_arm_named_by_its_levels():
    experiment = loaded({"mine": GRID})
    assert experiment.run_arms == NAMES
    for name in NAMES:
        precision, rate = name.split("-")
        written_out = PRECISION[precision] | {"training": {"beta": 0.1} | RATES[rate]["training"]}
        plain = load_experiment(lay_over(DEFAULT, {"arms": {"plain": written_out}, "run_arms": ["plain"]}))
        assert experiment.train_slice(name) == plain.train_slice("plain")
        assert experiment.arms[name] == plain.arms["plain"]


def test_a_grid_stands_beside_other_arms_and_single_arms_of_it_can_be_run():
    experiment = loaded({"mine": GRID}, ["float32", "mine"])
    assert experiment.run_arms == ("float32", *NAMES)
    assert loaded({"mine": GRID}, ["bfloat16-fast", "float16"], "float16").run_arms == ("bfloat16-fast", "float16")


def test_the_report_knows_the_levels_of_the_arms_that_are_run():
    levels = {"bfloat16-fast": {"precision": "bfloat16", "rate": "fast"}}
    slice = loaded({"mine": GRID}, ["bfloat16-fast", "float16"], "float16").report_slice()
    assert slice.grids == {"mine": levels}
    assert from_words(ReportSlice, as_words(slice)) == slice
    assert list(loaded({"mine": GRID}).report_slice().grids["mine"]) == list(NAMES)
    assert loaded({"mine": GRID}, ["float16"], "float16").report_slice().grids == {}


def test_a_level_lies_over_what_is_common():
    grid = lay_over(GRID, {"factors": {"rate": {"other": {"training": {"beta": 0.5}}}}})
    experiment = loaded({"mine": grid})
    assert experiment.training_of("float16-other").beta == 0.5
    assert experiment.training_of("float16-slow").beta == 0.1


FAULTS = {
    "a factor without levels": ({"factors": {"rate": {}}}, "arm_grids.mine: factors.rate: 0 levels"),
    "a factor with one level": ({"factors": {"rate": {"slow": {}}}}, "arm_grids.mine: factors.rate: 1 levels"),
    "no factors": ({"factors": {}}, "arm_grids.mine.factors"),
    "an unknown key of a level": (
        lay_over(GRID, {"factors": {"rate": {"slow": {"trainig": {}}}}}),
        "arm_grids.mine: factors.rate.slow.trainig: unknown key; known keys are trainer_dtype",
    ),
    "an unknown key of the grid": ({**GRID, "levels": {}}, "arm_grids.mine.levels: unknown key"),
    "an unknown key inside": (
        lay_over(GRID, {"common": {"training": {"betta": 1}}}),
        "arms.float16-slow.training.betta: unknown key (value 1); did you mean beta?",
    ),
    "two factors that set one key": (
        lay_over(GRID, {"factors": {"beta": {"b1": {"training": {"learning_rate": 1}}, "b2": {}}}}),
        "arm_grids.mine: factors rate and beta both set training.learning_rate; let one of them set it",
    ),
    "two combinations with one name": (
        {"common": PRECISION["float16"], "factors": {"one": {"a-b": {}, "a": {}}, "two": {"c": {}, "b-c": {}}}},
        "arm_grids.mine: two combinations of levels give the name a-b-c",
    ),
    "a level that is no name": (lay_over(GRID, {"factors": {"rate": {"1.0": {}}}}), "'1.0' is not possible"),
    "YAML's off as a level": (lay_over(GRID, {"factors": {"rate": {False: {}}}}), "arm_grids: false is not possible"),
    "not a mapping": ([1], "arm_grids.mine: [1] is not possible"),
}


@pytest.mark.parametrize(("grid", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_grid_that_cannot_become_arms_is_refused_in_one_sentence(grid, sentence):
    with pytest.raises(ConfigError) as fault:
        loaded({"mine": grid}, ["float16"], "float16")
    assert sentence in str(fault.value)
    assert len(str(fault.value).splitlines()) == 1


def test_names_that_clash_are_refused():
    with pytest.raises(ConfigError, match="arm_grids.mine: its arm float16-slow is defined twice"):
        loaded({"mine": GRID}, arms={"float16-slow": PRECISION["float16"]})
    with pytest.raises(ConfigError, match="arm_grids.other: its arm float16-slow is defined twice"):
        loaded({"mine": GRID, "other": GRID})
    with pytest.raises(ConfigError, match="arm_grids.float16: an arm is called float16 too"):
        loaded({"float16": GRID})
    with pytest.raises(ConfigError, match="run_arms: .* name something twice"):
        loaded({"mine": GRID}, ["mine", "float16-slow"])
    with pytest.raises(ConfigError, match="run_arms: 'mien' is not defined under arms; write one of .*mine"):
        loaded({"mine": GRID}, ["mien"])


def test_the_command_lists_arms_with_factors_and_what_differs(tmp_path):
    changes = {"arm_grids": {"mine": GRID}, "run_arms": ["mine", "float16"], "report": {"baseline_arm": "float16"}}
    (tmp_path / "mine.yaml").write_text(json.dumps(changes))
    listed = subprocess.run(
        [sys.executable, "workflow/tools/arms.py", "--configfile", tmp_path / "mine.yaml"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": "workflow"}, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert {"mine:", "precision", "training.learning_rate", "training.beta"} <= set(listed[0].split())
    rows = {line.split()[0]: line.split()[1:] for line in listed[1:]}
    assert set(rows) == {*NAMES, "float16"}
    assert rows["bfloat16-fast"][:2] == ["bfloat16", "fast"] and "0.01" in rows["bfloat16-fast"]
    assert rows["float16"][:2] == ["-", "-"] and "0.001" in rows["float16"]
