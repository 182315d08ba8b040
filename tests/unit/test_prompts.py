import copy

import numpy as np
import pytest
from synthetic import chat_tokenizer, random_task
from tokenizers import Tokenizer, models, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from arc_precision.chat import chat_facts
from arc_precision.language.tokenizer import render_prompt, save_tokenizer
from arc_precision.prompt_templates import ShownTask, load_template, trial_task
from arc_precision.prompts import (
    CountedChat,
    DslPrompts,
    TokenizedPrompts,
    barc_question,
    prompt_writer,
    render,
)
from arc_precision.tasks.grids import Pair, Task

BARC = load_template("barc").render(ShownTask(trial_task(), 0))
SYSTEM, PREFILL = BARC.system, BARC.assistant
GRID = np.array([[0, 1, 2], [9, 8, 7]], dtype=np.int8)
TASK = Task("t", (Pair(GRID, GRID[:1]), Pair(GRID[:, :1], GRID[:1, :1])), (Pair(GRID[:1], GRID), Pair(GRID[1:], GRID)))


@pytest.fixture(scope="module")
def tasks():
    rng = np.random.default_rng(0)
    return [random_task(rng, max_side=int(rng.integers(1, 31))) for _ in range(40)]


@pytest.fixture(scope="module")
def chat(tasks):
    return chat_tokenizer([SYSTEM + PREFILL] + [barc_question(task, 0) for task in tasks])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_question_shows_every_train_pair_and_one_test_input():
    assert barc_question(TASK, 1).split("reference examples:\n")[1].split("\n\nWrite")[0] == (
        "Example 1\nInput:\nBlack Blue Red\nBrown Purple Orange\n\nOutput:\nBlack Blue Red\n\n"
        "Example 2\nInput:\nBlack\nBrown\n\nOutput:\nBlack\n\n"
        "Here is the input grid for the test example:\nBrown Purple Orange"
    )
    assert "Brown Purple Orange" not in barc_question(TASK, 0).split("test example:\n")[1]


def test_chat_goes_through_the_template_and_ends_in_the_prefill(chat):
    text = render("barc", TASK, 0, chat)
    assert text.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" + SYSTEM + "<|eot_id|>")
    assert text.count("<|eot_id|>") == 2
    assert text.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n" + PREFILL.rstrip())
    assert barc_question(TASK, 0) in text


TURNS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | trim }}<end>{% endfor %}"
KNOWS_NO_SYSTEM = {
    "refuses": "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TURNS,
    "passes over": "{% for m in messages if m['role'] != 'system' %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}",
    "alternates": "{% if messages[0]['role'] != 'user' %}{{ raise_exception('start with user') }}{% endif %}" + TURNS,
}


def with_template(chat, template):
    changed = copy.copy(chat)
    changed.chat_template = template
    return changed


@pytest.mark.parametrize("template", KNOWS_NO_SYSTEM.values(), ids=KNOWS_NO_SYSTEM)
def test_where_no_system_role_is_known_the_user_says_its_text(chat, template):
    tokenizer = with_template(chat, template)
    text = render("barc", TASK, 0, tokenizer)
    assert "<system>" not in text
    assert text.startswith(f"<user>{SYSTEM}\n\n{barc_question(TASK, 0)}")
    assert text.rstrip().endswith("<assistant>" + PREFILL.rstrip())
    assert chat_facts(BARC, tokenizer, "barc") == {"date": None, "system_text_in": "user"}
    assert prompt_writer("barc", tokenizer, 8000)(TASK, 0)[0] == text


UNUSABLE = {
    "user's words lost": "{% for m in messages %}{% if m['role'] != 'user' %}{{ m['content'] }}{% endif %}{% endfor %}",
    "said twice": TURNS + TURNS,
    "broken": "{% for m in messages %}{{ m['content'] }}",
    "of no use": "{{ nothing.at.all }}",
}


@pytest.mark.parametrize("template", UNUSABLE.values(), ids=UNUSABLE)
def test_a_template_that_cannot_hold_the_chat_is_refused_in_one_sentence(chat, template):
    with pytest.raises(ValueError, match="chat template cannot be used with model.prompt: barc: .*; take") as caught:
        render("barc", TASK, 0, with_template(chat, template))
    assert "\n" not in str(caught.value)


def test_a_template_that_asks_for_the_day_gets_one_day(chat):
    tokenizer = with_template(chat, "Today: {{ strftime_now('%d %b %Y') }}\n" + TURNS)
    assert render("barc", TASK, 0, tokenizer).startswith("Today: 26 Jul 2024\n")
    assert chat_facts(BARC, tokenizer, "barc") == {"date": "2024-07-26", "system_text_in": "system"}
    assert chat_facts(BARC, chat, "barc")["date"] is None


def test_words_are_counted_as_the_tokenizer_counts(chat, tasks):
    counted = prompt_writer("barc", chat, 8000)
    assert isinstance(counted, CountedChat)
    exact = TokenizedPrompts("barc", chat, 8000)
    for task in tasks:
        text, n_tokens = counted(task, 0)
        assert (text, n_tokens) == exact(task, 0)
        assert n_tokens == len(chat(text, add_special_tokens=False).input_ids)


def test_words_of_several_tokens_are_counted(tasks):
    few_words = chat_tokenizer(["Black Blue Red"], vocabulary_size=270)
    assert len(few_words.tokenize(" Purple")) > 2
    counted = prompt_writer("barc", few_words, 8000)
    assert isinstance(counted, CountedChat)
    assert counted(tasks[0], 0) == TokenizedPrompts("barc", few_words, 8000)(tasks[0], 0)


def test_tokenizer_that_joins_words_is_asked_each_time(chat, tasks):
    tokenizer = Tokenizer(models.BPE())  # this tokenizer splits no words, so a token may span several
    text = " ".join(["Black Black Black Blue Red"] * 50)
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(vocab_size=100, show_progress=False))
    joined = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=chat.chat_template)
    writer = prompt_writer("barc", joined, 8000)
    assert isinstance(writer, TokenizedPrompts)
    text, n_tokens = writer(tasks[0], 0)
    assert n_tokens == len(joined(text, add_special_tokens=False).input_ids)


def test_too_many_pairs_for_a_chat(chat):
    task = Task("many", (Pair(GRID, GRID),) * 100, TASK.test)
    with pytest.raises(ValueError, match="task many: 100 train pairs; a prompt holds 99 at most"):
        prompt_writer("barc", chat, 8000)(task, 0)


def test_tokenizer_without_chat_template_is_refused(tiny):
    with pytest.raises(ValueError, match="no chat template, which model.prompt: barc needs"):
        prompt_writer("barc", tiny, 8000)


def test_dsl_prompt_is_the_tiny_models_own(tiny):
    writer = prompt_writer("dsl", tiny, 1000)
    assert isinstance(writer, DslPrompts)
    text, n_tokens = writer(TASK, 1)
    assert text == render_prompt(TASK, 1) == render("dsl", TASK, 1, tiny)
    assert n_tokens == len(tiny(text, add_special_tokens=False).input_ids)


def test_dsl_prompt_shows_the_smallest_pairs_where_all_are_too_long(tiny):
    pairs = tuple(Pair(np.full((side, side), side, np.int8), np.zeros((1, 1), np.int8)) for side in (9, 8, 3, 2))
    task = Task("t", pairs, TASK.test)
    writer = prompt_writer("dsl", tiny, 60)
    text, n_tokens = writer(task, 0)
    assert n_tokens <= 60
    assert "33" in text and "22" in text and "99" not in text and "88" not in text
    text, n_tokens = prompt_writer("dsl", tiny, 20)(task, 0)
    assert n_tokens > 20  # two pairs are the least that is shown
    assert "33" in text and "22" in text
