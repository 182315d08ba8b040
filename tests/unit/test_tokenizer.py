"""The tiny model's tokenizer and prompt."""

import random

import numpy as np
import pytest
from transformers import AutoTokenizer

from arc_precision.language import tokenizer as tiny
from arc_precision.language.dsl import PRIMITIVES
from arc_precision.tasks.generator import generate_task
from arc_precision.tasks.grids import Pair, Task

TASKS = [generate_task(2, i) for i in range(60)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def _task(*shapes: tuple[int, int]) -> Task:
    grids = [np.full(shape, i % 10, dtype=np.int8) for i, shape in enumerate(shapes)]
    return Task("shapes", tuple(Pair(grid, grid) for grid in grids[:-1]), (Pair(grids[-1], grids[-1]),))


def test_prompt_ids_are_the_same_with_and_without_special_tokens(tokenizer):
    for generated in TASKS:
        text = tiny.render_prompt(generated.task, 0)
        ids = tokenizer(text).input_ids
        assert ids == tokenizer(text, add_special_tokens=False).input_ids
        assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
        assert ids == tiny.prompt_ids(generated.task, 0)[0].tolist()
        assert len(ids) == tiny.count_prompt_tokens(generated.task, 0)
        assert tokenizer.decode(ids) == text


def test_completion_ids_are_those_of_the_text_and_the_end_token(tokenizer):
    for generated in TASKS:
        ids = tokenizer(generated.completion).input_ids + [tokenizer.eos_token_id]
        assert ids == tiny.completion_ids(generated.program).tolist()
        assert len(ids) <= tiny.MAX_COMPLETION_TOKENS
        assert tokenizer.decode(ids, skip_special_tokens=True) == generated.completion


def test_one_token_per_cell(tokenizer):
    text = tiny.render_prompt(_task((3, 4), (2, 2)), 0)
    assert text == "<bos><in>0000\n0000\n0000\n<out>0000\n0000\n0000\n<test>11\n11\n<prog>"
    assert len(tokenizer(text).input_ids) == 5 + 2 * 3 * (4 + 1) + 2 * (2 + 1)


def test_the_mask_marks_the_output_grids():
    task = TASKS[0].task
    ids, in_output = tiny.prompt_ids(task, 0)
    cells = "".join(chr(i) for i in ids[in_output])
    assert cells == "".join("".join(map(str, row)) + "\n" for pair in task.train for row in pair.output.tolist())


def test_any_text_can_be_spelled(tokenizer):
    rng = random.Random(0)
    pieces = [
        *PRIMITIVES,
        "<in>",
        "    grid = ",
        "(grid",
        "connect_",
        "é",
        "€",
        "😀",
        "\t",
        "\r\n",
        "  ",
        "Ġ",
        "\x00",
        "0",
        "```",
    ]
    texts = ["".join(rng.choices(pieces, k=20)) for _ in range(200)]
    texts += ["".join(chr(rng.randrange(1, 0xD800)) for _ in range(50)) for _ in range(50)]
    for text in texts:
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_every_id_has_a_text(tokenizer):
    assert len(tokenizer) == tiny.VOCABULARY_SIZE
    bytes_of = [tokenizer.decode([i]) for i in range(256, tiny.VOCABULARY_SIZE)]
    assert all(bytes_of) and len(set(bytes_of)) == len(bytes_of)
    assert tokenizer("~").input_ids == [ord("~")]


def test_fit_prompt_shows_the_first_three_pairs_else_the_smallest():
    task = _task((20, 20), (2, 2), (3, 3), (4, 4), (2, 2))
    assert tiny.fit_prompt(task, 0).train == task.train[:3]
    assert tiny.fit_prompt(task, 0, 100).train == task.train[1:4]
    assert tiny.fit_prompt(task, 0, 60).train == task.train[1:3]
    assert tiny.fit_prompt(task, 0, 30) is None
