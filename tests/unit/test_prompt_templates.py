"""Prompts as files: the bundled ones word by word, a user's own, and faults in one sentence with file and line."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import chat_tokenizer, random_task
from transformers import AutoTokenizer

from arc_precision.chat import chat_facts
from arc_precision.language.tokenizer import save_tokenizer
from arc_precision.prompt_files import PROMPTS, prompt_file
from arc_precision.prompt_templates import Chat, ShownTask, load_template, trial_task
from arc_precision.prompts import CountedChat, TokenizedPrompts, barc_question, grid_text, prompt_writer, render
from arc_precision.tasks.grids import Pair, Task

ROOT = Path(__file__).parents[2]
EXPECTED = Path(__file__).parent / "expected_prompts"
GRID = np.array([[0, 1], [2, 3]], dtype=np.int8)
TASK = Task("t", (Pair(GRID, GRID[:1]),), (Pair(GRID[:, :1], GRID),))


@pytest.fixture(scope="module")
def tasks():
    rng = np.random.default_rng(6)
    return [random_task(rng, max_side=side) for side in (1, 4, 6, 8, 8, 12)]


@pytest.fixture(scope="module")
def chat():
    return chat_tokenizer(["a"], vocabulary_size=300)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def template(tmp_path):
    """Writes a template and gives its path."""

    def write(text: str) -> str:
        path = tmp_path / "own.jinja"
        path.write_text(text)
        load_template.cache_clear()
        return str(path)

    return write


def test_the_bundled_prompts_are_what_they_have_always_been(tasks, tiny, chat):
    """With at most 120 tokens the first three pairs are shown of some tasks, the smallest three or two of others."""
    write = prompt_writer("dsl", tiny, 120)
    for number, task in enumerate(tasks):
        expected = (EXPECTED / f"dsl-{number}.txt").read_text()
        assert write(task, 0)[0] == TokenizedPrompts("dsl", tiny, 120)(task, 0)[0] == expected
        assert render("barc", task, 0, chat) == (EXPECTED / f"barc-{number}.txt").read_text()


def test_a_users_own_text_is_filled_in(template):
    path = template(
        "{# mine #}\n{% for pair in pairs %}\n{{ loop.index }}: {{ pair.input.digits }} -> {{ pair.output.spaced }}\n"
        "{% endfor %}\n{{ test_input.lists }} of {{ test_input.height }} by {{ test_input.width }}"
        ", {{ test_input.colors }}"
    )
    assert render(path, TASK, 0, None) == "1: 01\n23 -> 0 1\n[[0], [2]] of 2 by 1, Black\nRed"
    assert grid_text(path, GRID) == "01\n23"


def test_a_users_own_chat_is_held_by_the_models_template(template, chat):
    path = template("{% block user %}\n{{ test_input.digits }}?\n{% endblock %}")
    text = render(path, TASK, 0, chat)
    assert "system" not in text
    assert text.endswith("0\n2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")
    said = load_template(path).render(ShownTask(TASK, 0))
    assert said == Chat(user="0\n2?") and chat_facts(said, chat, path)["system_text_in"] is None
    begun = template("{% block user %}{{ test_input.digits }}?{% endblock %}{% block assistant %}It is{% endblock %}")
    assert render(begun, TASK, 0, chat).endswith("assistant<|end_header_id|>\n\nIt is")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / PROMPTS).glob("*.jinja")))
def test_every_bundled_prompt_shows_every_pair_and_the_test_input(name, chat):
    load_template.cache_clear()
    task = random_task(np.random.default_rng(1), max_side=9)
    text = render(name, task, 0, chat)
    shown = [pair.input for pair in task.train] + [pair.output for pair in task.train] + [task.test[0].input]
    assert len(task.train) > 1 and all(grid_text(name, grid) in text for grid in shown)
    assert "transform" in text or name == "dsl"


def test_the_prompt_of_models_that_think_ends_where_they_begin_to(chat):
    assert render("qwen3", TASK, 0, chat).endswith("assistant<|end_header_id|>\n\n")
    assert "Input, 2 rows by 1 columns:\n[[0], [2]]" in render("soar", TASK, 0, chat)


COUNTED = {
    "lists": "{% block user %}{% for p in pairs %}{{ p.input.lists }}\n{{ p.output.lists }}\n{% endfor %}"
    "{{ test_input.lists }}{% endblock %}",
    "spaced": "{% for p in pairs %}{{ p.input.spaced }}\n{{ p.output.spaced }}\n{% endfor %}{{ test_input.spaced }}",
}


@pytest.mark.parametrize("text", COUNTED.values(), ids=COUNTED)
def test_other_ways_of_writing_are_counted_without_the_tokenizer(text, template, tasks):
    path = template(text)
    tokenizer = chat_tokenizer([render("soar", task, 0, chat_tokenizer(["a"], 300)) for task in tasks])
    writer, exact = prompt_writer(path, tokenizer, 5000), TokenizedPrompts(path, tokenizer, 5000)
    assert isinstance(writer, CountedChat)
    for task in tasks:
        assert pickle.loads(pickle.dumps(writer))(task, 0) == exact(task, 0)


NOT_COUNTED = {
    "sizes": "{% for p in pairs %}{{ p.input.digits }} {{ p.output.digits }}{% endfor %}{{ test_input.digits }}"
    "{{ test_input.height }}",
    "a rare size": "{% for p in pairs %}{{ p.input.digits }} {{ p.output.digits }}{% endfor %}{{ test_input.digits }}"
    "{% if test_input.height == 29 and test_input.width == 1 %}Tall!{% endif %}",
    "some pairs": "{% for p in pairs[:12] %}{{ p.input.digits }} {{ p.output.digits }}{% endfor %}"
    "{{ test_input.digits }}",
    "two ways": "{% for p in pairs %}{{ p.input.digits }} {{ p.output.spaced }}{% endfor %}{{ test_input.digits }}",
}


@pytest.mark.parametrize("text", NOT_COUNTED.values(), ids=NOT_COUNTED)
def test_what_adding_up_would_count_wrong_is_left_to_the_tokenizer(text, template, tasks, chat):
    assert isinstance(prompt_writer(template(text), chat, 5000), TokenizedPrompts)


def test_a_template_can_leave_out_pairs_that_are_too_long(template, tiny):
    sides = (9, 2, 8, 3)
    pairs = tuple(Pair(np.full((side, side), side, np.int8), np.zeros((1, 1), np.int8)) for side in sides)
    task = Task("t", pairs, TASK.test)
    body = "{% for p in pairs %}{{ p.input.digits }}>{{ p.output.digits }}\n{% endfor %}{{ test_input.digits }}"
    path = template("{% set most_pairs = 3 %}" + body)
    writer = prompt_writer(path, tiny, 1000)
    assert isinstance(writer, CountedChat)
    for limit, shown in ((1000, {9, 2, 8}), (150, {2, 8, 3}), (40, {2, 3}), (5, {2, 3})):
        text, n_tokens = prompt_writer(path, tiny, limit)(task, 0)
        assert (text, n_tokens) == TokenizedPrompts(path, tiny, limit)(task, 0)
        assert {side for side in sides if str(side) * side in text} == shown
    assert n_tokens > 5


FAULTS = {
    "syntax": ("one\n{% for p in pairs %}\n", "line 2: Unexpected end of template"),
    "variable": ("one\n\n{{ pairz }}", "line 3: 'pairz' is undefined; a prompt is given pairs and test_input"),
    "in a branch": ("{% if pairs|length > 50 %}\n{{ more }}{% endif %}", "line 2: 'more' is undefined"),
    "attribute": ("one\n{{ test_input.colours }}", "line 2: a grid has no 'colours'; write one of colors, digits"),
    "of a pair": ("one\n{{ pairs[0].inptu }}", "line 2: 'dict object' has no attribute 'inptu'"),
    "of a block": ("{% block user %}\n{{ test_input.colours }}{% endblock %}", "line 2: a grid has no 'colours'"),
    "a whole grid": (
        "{{ test_input }}",
        "line 1: a grid has no text of its own; write .colors, .digits, .spaced, .lists after",
    ),
    "include": ("one\n{% include 'other' %}", "line 2: "),
    "unknown speaker": ("{% block usr %}{% endblock %}", "line 1: no one is called 'usr'; name blocks system, user"),
    "no question": ("\n{% block system %}a{% endblock %}", "line 2: a chat needs a question; write a block named user"),
    "text outside": ("Hello\n{% block user %}a{% endblock %}", "line 1: in a chat all text stands in blocks"),
    "outside, a value": ("{% block user %}a{% endblock %}\n{{ test_input.lists }}", "in a chat all text stands"),
    "pairs": ("\n{% set most_pairs = 'all' %}", "line 2: most_pairs is not a whole number above 0; write one"),
}


@pytest.mark.parametrize(("text", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_sentence_with_file_and_line(text, sentence, template):
    path = template(text)
    with pytest.raises(ValueError) as caught:
        load_template(path)
    assert str(caught.value).startswith(f"model.prompt: {path}, ") and sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_variables_of_the_template_itself_are_known(template):
    path = template(
        "{% macro row(grid) %}{{ grid.digits }}{% endmacro %}{% set n = pairs|length %}"
        "{{ n }}{% for p in pairs %}{% if loop.first %}{{ row(p.input) }}{% endif %}{% endfor %}{{ range(2)|list }}"
    )
    assert render(path, TASK, 0, None) == "101\n23[0, 1]"


def test_an_unknown_name_lists_what_there_is(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'brac' is neither a prompt .* write barc, dsl, qwen3 or soar, or the path"):
        prompt_file("brac")
    with pytest.raises(ValueError, match="is neither"):
        prompt_file(str(tmp_path))
    (tmp_path / "mine.jinja").touch()
    assert prompt_file("mine.jinja", tmp_path) == tmp_path / "mine.jinja"
    monkeypatch.chdir(tmp_path)
    assert prompt_file("mine.jinja", ROOT) == Path("mine.jinja")
    (tmp_path / "dsl").touch()
    assert prompt_file("dsl", ROOT).parent == ROOT / PROMPTS


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "own.jinja").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="own.jinja is no text in UTF-8"):
        load_template(str(tmp_path / "own.jinja"))


def test_the_first_job_refuses_a_faulty_template(tmp_path):
    (tmp_path / "own.jinja").write_text("one\n{{ pairz }}")
    command = [sys.executable, ROOT / "workflow/scripts/model_manifest.py", "--path", ROOT / "resources/tiny-arc"]
    command += ["--prompt", "own.jinja", "--model-files", "a=b", "--tokenizer-files", "a=b"]
    command += ["--output-model", "m", "--output-tokenizer", "t"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "workflow")}
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: model.prompt: own.jinja, line 2: 'pairz' is undefined")


def test_the_question_of_barc_is_the_users_turn(tasks):
    said = load_template("barc").render(ShownTask(tasks[0], 0))
    assert barc_question(tasks[0], 0) == said.user and said.system and said.assistant.endswith(":\n")
    assert said.system not in said.user
    assert load_template("barc").render(ShownTask(trial_task(), 0)).system == said.system
