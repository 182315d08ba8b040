"""Completions of `engine: transformers`: their ends, and that only `sampling` decides how they are drawn."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_models import TINY
from transformers import AutoTokenizer

from arc_precision.config.sampling import SamplingConfig
from arc_precision.language.tokenizer import render_prompt
from arc_precision.sampling.transformers_sampler import TransformersSampler
from arc_precision.tasks.grids import Pair, Task

END = 258
LIMIT = 24


@pytest.fixture
def model(tmp_path):
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def edit(path: Path, **changes) -> None:
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def prompts(model: Path, n: int = 6) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(model)
    rng = np.random.default_rng(0)
    tasks = []
    for side in range(1, n + 1):
        grids = [rng.integers(0, 10, size=(side, side), dtype=np.int8) for _ in range(5)]
        tasks.append(Task("t", (Pair(*grids[:2]), Pair(*grids[2:4])), (Pair(grids[4], grids[4]),)))
    return tokenizer([render_prompt(task, 0) for task in tasks], add_special_tokens=False)["input_ids"]


def draw(model: Path, **sampling):
    sampler = TransformersSampler(
        SamplingConfig(**{"engine": "transformers", "max_completion_tokens": LIMIT} | sampling),
        str(model),
        "float32",
        "cpu",
    )
    asked = prompts(model)
    return sampler.generate(asked, range(len(asked)))


def test_every_end_token_of_the_generation_config_ends_a_completion(model):
    ends = {END, *range(60)}
    edit(model / "generation_config.json", eos_token_id=[*range(60)])  # the tokenizer's own end token counts too
    drawn = draw(model)
    assert any(len(completion.token_ids) < LIMIT for completion in drawn)
    for completion in drawn:
        *before, last = completion.token_ids
        assert not ends & set(before)
        assert completion.truncated == (last not in ends)
        assert len(completion.logprobs) == len(completion.token_ids)
    edit(model / "generation_config.json", eos_token_id=7)
    assert all(not {7, END} & set(completion.token_ids[:-1]) for completion in draw(model))


def test_without_a_padding_token_the_same_is_drawn(model):
    expected = draw(model, temperature=0)
    edit(model / "tokenizer_config.json", pad_token=None)
    for name in ("config.json", "generation_config.json"):
        edit(model / name, pad_token_id=None)
    assert AutoTokenizer.from_pretrained(model).pad_token_id is None
    assert [c.token_ids for c in draw(model, temperature=0)] == [c.token_ids for c in expected]


def test_the_models_own_sampling_settings_change_nothing(model):
    expected = draw(model)
    edit(model / "generation_config.json", do_sample=True, top_k=1, repetition_penalty=5.0, min_p=0.9, min_new_tokens=9)
    assert [c.token_ids for c in draw(model)] == [c.token_ids for c in expected]


def test_a_stop_string_ends_a_completion_with_the_token_that_completes_it(model):
    """Other completions of the batch go on, and the tokens are those that would have been drawn anyway."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    plain = draw(model, temperature=0)
    stop = (", ", "return")
    stopped = draw(model, temperature=0, stop=stop)
    ended = 0
    for before, after in zip(plain, stopped, strict=True):
        texts = [tokenizer.decode(before.token_ids[:n], skip_special_tokens=True) for n in range(LIMIT + 1)]
        found = [n for n, text in enumerate(texts) if any(part in text for part in stop)]
        length = min(found[0] if found else LIMIT, len(before.token_ids))
        assert after.token_ids == before.token_ids[:length]
        assert after.logprobs == pytest.approx(before.logprobs[:length], abs=1e-5)
        assert after.truncated == (before.truncated and not found)
        ended += bool(found)
    assert len({len(completion.token_ids) for completion in stopped}) > 1 and 0 < ended


def test_a_stop_string_at_the_limit_counts_as_an_end(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    whole = next(c for c in draw(model, temperature=0, max_completion_tokens=5) if c.truncated)
    stop = tokenizer.decode(whole.token_ids, skip_special_tokens=True)
    stopped = draw(model, temperature=0, max_completion_tokens=5, stop=(stop,))
    same = [c for c in stopped if c.token_ids == whole.token_ids]
    assert same and not any(c.truncated for c in same)
