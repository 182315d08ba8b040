"""The page as written, without a browser: every number in it is in report.json, and nothing escapes its place."""

import json
import re
from copy import deepcopy
from html.parser import HTMLParser

import pytest
from report_fixture import Plan, make_results
from test_report_steps import ROOT

from arc_precision.report.build import build_report
from arc_precision.report.page import render

TEMPLATE = ROOT / "workflow/report"
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e-?\d+)?")
VOID = {"meta", "input", "br", "link", "img"}


class Page(HTMLParser):
    """Values of all <data> elements, and the text outside of them, scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.values: list[float] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []  # the embedded report, the library, the page's own
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "data":
            self.values.append(float(attrs["value"]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "data" not in self.open and "style" not in self.open:
            self.texts.append(data)


def leaves(part):
    """Every number and string in a JSON value."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from leaves(value)
    elif isinstance(part, list):
        for value in part:
            yield from leaves(value)
    elif part is not None:
        yield part


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    root = tmp_path_factory.mktemp("results")
    plan = Plan(
        n_tasks=20, max_steps=60, gain={"float16": 0.4}, collapse_at={("bfloat16", 1): 40}, missing=(("bfloat16", 2),),
        collapse={"smoothing_steps": 5, "patience_steps": 5, "min_steps": 10, "baseline_steps": 10},
    )  # fmt: skip
    return json.loads(build_report(make_results(root, plan), root).model_dump_json())


@pytest.fixture(scope="module")
def gridded(tmp_path_factory) -> dict:
    """A grid whose arms are ladders too."""
    root = tmp_path_factory.mktemp("results")
    factors = {
        "precision": {name: {"trainer_dtype": name, "sampler_dtype": name} for name in ("float16", "bfloat16")},
        "noise": {f"n{noise}": {"sampling": {"weight_noise": noise / 10}} for noise in (0, 1, 2)},
    }
    plan = Plan(
        arms=tuple(f"{p}-{n}" for p in factors["precision"] for n in factors["noise"]), n_tasks=10, max_steps=20,
        grids={"grid": {"factors": factors}}, sets=("arc-agi-1-evaluation",), audits=False, own_dtype=False,
    )  # fmt: skip
    return json.loads(build_report(make_results(root, plan), root).model_dump_json())


@pytest.fixture(scope="module")
def page(report) -> Page:
    return Page(render(report, TEMPLATE))


def test_ladder_and_factors_are_on_the_page_and_their_numbers_in_report_json(gridded):
    page = Page(render(gridded, TEMPLATE))
    check_numbers(gridded, page)
    numbers = [arm["spread"]["low"] for arm in gridded["ladder"]["arms"]]
    numbers += [effect["difference"]["high"] for grid in gridded["factors"] for effect in grid["effects"]]
    assert len(numbers) == 6 + 5 and set(numbers) <= set(page.values)
    sentences = gridded["ladder"]["sentences"] + gridded["factors"][0]["limits"]
    assert set(sentences) <= set(page.texts) and len(sentences) > 2
    plain = Page(render(gridded | {"ladder": None, "factors": []}, TEMPLATE))
    assert not {"Ladder", "Factors"} & set(plain.texts) and {"Ladder", "Factors"} <= set(page.texts)


def test_completions_that_were_trained_on_are_shown_around_a_collapse(report, page):
    kept = {(run["arm"], run["seed"]): run for run in report["collapse"]["training"]}
    collapsed = next(run for run in report["collapse"]["runs"] if run["onset_step"])
    around = kept[collapsed["arm"], collapsed["seed"]]["completions"]
    onset, seen = collapsed["onset_step"], collapsed["detected_step"]
    assert [(c["when"], c["step"]) for c in around[::2]] == [("before", onset - 1), ("at", onset), ("after", seen)]
    assert [(c["when"], c["step"]) for c in kept["float16", 0]["completions"]] == [("last", 60)] * 2
    texts = [completion["text"] for run in kept.values() for completion in run["completions"]]
    assert len(texts) == 6 + 2 * 4 and set(texts) <= set(page.texts)


def test_every_number_is_in_report_json(report, page):
    check_numbers(report, page)
    assert len(page.values) > 200


def check_numbers(report, page):
    found = list(leaves(report))
    numbers = {float(leaf) for leaf in found if isinstance(leaf, (int, float))}
    assert set(page.values) <= numbers

    written = {number for leaf in found for number in NUMBER.findall(str(leaf))}
    for text in page.texts:
        assert set(NUMBER.findall(text)) <= written, text.strip()


def test_the_embedded_report_is_report_json(report, page):
    assert json.loads(page.scripts[0]) == report


def test_where_no_collapse_could_be_seen_none_is_claimed(report):
    """A run that is too short for the rules has no onset, which says nothing."""
    shorter = deepcopy(report)
    shorter["collapse"]["first_possible_step"] = report["settings"]["max_steps"] + 1
    for changed, words in ((report, "none seen"), (shorter, "too few steps")):
        assert words in Page(render(changed, TEMPLATE)).texts


def test_nothing_is_loaded_from_anywhere(page, report):
    html = render(report, TEMPLATE)
    assert "default-src 'none'" in html
    outside_scripts = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r"https?://|\ssrc=|@import|url\(", outside_scripts)


def test_a_completion_cannot_leave_its_place(report):
    attack = "</script><script>alert(1)</script><b>bold</b>&amp;"
    changed = json.loads(json.dumps(report))
    changed["tasks"]["cards"][0]["completions"][0]["program"] = attack
    changed["collapse"]["completions"][0]["text"] = attack
    changed["collapse"]["training"][0]["completions"][0]["text"] = attack
    changed["title"] = attack
    page = Page(render(changed, TEMPLATE))
    assert json.loads(page.scripts[0]) == changed
    assert len(page.scripts) == 3
    assert attack in page.texts


def test_the_page_is_a_pure_function(report):
    assert render(report, TEMPLATE) == render(json.loads(json.dumps(report)), TEMPLATE)


def test_size_of_a_small_experiment(report):
    assert len(render(report, TEMPLATE).encode()) < 5_000_000


def test_an_empty_experiment_has_a_page(tmp_path):
    slice = make_results(tmp_path / "elsewhere", Plan(n_tasks=2, max_steps=20, seeds=(0,)))
    empty = json.loads(build_report(slice, tmp_path / "empty").model_dump_json())
    assert "Nothing can be compared yet." in Page(render(empty, TEMPLATE)).texts


def test_vendored_library_is_the_one_its_note_names():
    import hashlib

    note = (TEMPLATE / "vendor/README.md").read_text()
    digest = hashlib.sha256((TEMPLATE / "vendor/echarts.min.js").read_bytes()).hexdigest()
    assert digest in note
