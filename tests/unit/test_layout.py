"""Paths of results: a path that was built can be parsed, and no other path is mistaken for it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arc_precision.contracts import layout
from arc_precision.contracts.layout import BASE, Checkpoint, Pattern, Run

PATTERNS = {name: value for name, value in vars(layout).items() if isinstance(value, Pattern)}
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]*", fullmatch=True)  # as the configuration accepts them
VALUES = {
    "arm": NAMES,
    "set": NAMES,
    "run": st.just(BASE) | st.builds(layout.run_name, NAMES, st.integers(0, 10**9)),
    "engine": st.sampled_from(["draw", "trainer.float32", "sampler.float16-float32-head.merged"]),
    "dtype": st.sampled_from(["float32", "float16", "bfloat16"]),
    "format": st.sampled_from(["float32", "bfloat16", "float16-float32-head"]),
    "adapter": st.sampled_from(["applied", "merged"]),
    "name": NAMES,
    "when": st.sampled_from(["before", "after"]),
} | {name: st.integers(0, 10**9).map(str) for name in ("seed", "step", "stop")}


def wildcards(pattern: Pattern) -> list[str]:
    return re.findall(r"\{(\w+)\}", str(pattern))


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@given(data=st.data())
def test_what_is_built_is_parsed_again(pattern, data):
    values = {name: data.draw(VALUES[name]) for name in wildcards(pattern)}
    assert pattern.parse(pattern.path(**values)) == values


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_no_longer_and_no_shorter_path_is_taken_for_it(pattern):
    example = {"run": "a/seed-0", "engine": "draw", "dtype": "float16", "format": "float16", "adapter": "merged"}
    example["when"] = "after"
    path = pattern.path(**{name: example.get(name, "1") for name in wildcards(pattern)})
    assert pattern.parse(path)
    assert not pattern.parse(f"x/{path}") and not pattern.parse(f"{path}/part") and not pattern.parse(path[1:])


@given(arm=NAMES, seed=st.integers(0, 10**9), step=st.integers(0, 10**6))
def test_names_of_runs_are_told_apart_again(arm, seed, step):
    name = layout.run_name(arm, seed)
    assert layout.run_of(name) == Run(arm, seed)
    assert layout.checkpoint_of({"run": name, "step": str(step)}) == Checkpoint(arm, seed, step)


def test_the_base_model_is_no_run():
    assert layout.run_of(BASE) is None
    assert layout.checkpoint_of({"run": BASE, "step": "0"}) == Checkpoint(BASE, None, 0)


def test_files_of_a_kind_are_found_in_the_order_of_their_steps(tmp_path):
    names = [
        *("runs/a/seed-0/steps-100.jsonl", "runs/a/seed-0/steps-20.jsonl", "runs/a/seed-0/timing-20.jsonl"),
        *("scores/base/step-0/s.float32.parquet", "scores/a/seed-0/step-20/s.float32.parquet"),
        "scores/a/seed-0/step-20/s.float32.parquet.part",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [values["stop"] for _, values in layout.STEPS.find(tmp_path)] == ["20", "100"]
    assert [values["run"] for _, values in layout.SCORES.find(tmp_path)] == ["a/seed-0", "base"]


@pytest.mark.parametrize("pattern", [None, layout.SAMPLES, layout.STEPS])
def test_times_name_their_rule(pattern):
    path = str(layout.benchmark("some_rule", pattern))
    assert layout.benchmarked_rule(path) == "some_rule"
    assert set(re.findall(r"\{(\w+)\}", path)) == set(wildcards(pattern) if pattern else [])
    assert layout.benchmarked_rule("report/report.json") is None


def test_no_other_module_spells_a_path_of_results():
    """Folders and files of results are named in the layout alone.

    Training is an exception: if it imported the layout, a new path of the report would retrain.
    """
    root = Path(__file__).parents[2] / "workflow"
    spelled = re.compile(r"""["'/](runs|scores|samples|audit|checkpoint-\{|steps-|facts-|timing-|seed-\{)[/{*]""")
    found = {
        f"{path.relative_to(root)}: {line.strip()}"
        for folder in ("arc_precision", "scripts", "tools", "rules")
        for path in (root / folder).rglob("*.[ps][ym]*")
        if path.suffix in (".py", ".smk") and path.name not in ("layout.py", "checkpoint_files.py")
        for line in path.read_text().splitlines()
        if spelled.search(line) and not line.lstrip().startswith(("#", '"""'))
    }
    assert not found
