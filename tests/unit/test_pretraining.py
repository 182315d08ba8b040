"""Training the tiny model: data that depend on the configuration alone, the losses, and a run from end to end."""

import hashlib
import json
import random
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from arc_precision import pretraining
from arc_precision.config.pretrain import PretrainConfig
from arc_precision.language import tokenizer as tiny
from arc_precision.language.programs import parse_completion, solves
from arc_precision.pretraining import (
    IN_OUTPUT,
    IN_PROGRAM,
    BatchPool,
    evaluate,
    generated_chunks,
    learning_rate,
    losses,
    new_model,
    pretrain,
    rounded_copy,
)
from arc_precision.tasks.generator import generate_task
from arc_precision.tasks.grids import Pair

SMALL = PretrainConfig(
    seed=3,
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    context_tokens=448,
    steps=6,
    decay_from_step=4,
    decay_steps=2,
    batch_tokens=1024,
    warmup_steps=2,
    log_every=3,
    evaluation_tasks=4,
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(pretraining, "CHUNK_TASKS", 16)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def _pool() -> BatchPool:
    pool = BatchPool(SMALL, torch.device("cpu"))
    for chunk in islice(generated_chunks(SMALL, workers=0), 3):
        pool.add(chunk)
    return pool


def test_chunks_do_not_depend_on_the_number_of_workers():
    for alone, shared in zip(
        islice(generated_chunks(SMALL, workers=0), 3), islice(generated_chunks(SMALL, workers=2), 3), strict=True
    ):
        for (tokens, kinds), (other_tokens, other_kinds) in zip(alone, shared, strict=True):
            assert torch.equal(tokens, other_tokens) and torch.equal(kinds, other_kinds)


def test_a_sequence_is_the_prompt_and_the_completion_and_its_kinds_say_which(tokenizer):
    chunk = next(generated_chunks(SMALL, workers=0))
    expected = [generate_task(SMALL.seed, i, SMALL.depths) for i in range(16)]
    texts = {tiny.render_prompt(g.task, 0) + g.completion + tiny.EOS: g for g in expected}
    found = 0
    for tokens, kinds in chunk:
        for row, kind in zip(tokens, kinds, strict=True):
            length = int((row != tiny.PAD_ID).sum())
            generated = texts[tokenizer.decode(row[:length])]
            program = tokenizer.decode(row[kind == IN_PROGRAM])
            assert program == generated.completion + tiny.EOS
            cells = sum(p.output.shape[0] * (p.output.shape[1] + 1) for p in generated.task.train)
            assert int((kind == IN_OUTPUT).sum()) == cells
            found += 1
    fits = [g for t, g in texts.items() if len(tokenizer(t).input_ids) <= SMALL.context_tokens]
    assert found == len(fits) > 0


def test_a_batch_drawn_in_new_colors_is_still_a_right_example(tokenizer):
    pool, rng, checked = _pool(), random.Random(0), 0
    for _ in range(6):
        tokens, kinds = pool.draw(rng)
        assert tokens.numel() <= SMALL.batch_tokens
        for row, kind in zip(tokens, kinds, strict=True):
            program = parse_completion(tokenizer.decode(row[kind == IN_PROGRAM]).removesuffix(tiny.EOS))
            examples = tokenizer.decode(row[kind != IN_PROGRAM], skip_special_tokens=True).split(tiny.TEST)[0]
            for example in examples.split(tiny.INPUT)[1:]:
                given, wanted = (
                    torch.tensor([[int(cell) for cell in line] for line in text.splitlines()]).numpy()
                    for text in example.split(tiny.OUTPUT)
                )
                assert solves(program, (Pair(given, wanted),))
                checked += 1
    assert checked > 20


def test_losses_are_those_of_the_model_as_transformers_runs_it():
    model = new_model(SMALL)
    tokens, kinds = _pool().draw(random.Random(0))
    terms = losses(model, tokens, kinds)
    logits = model(tokens, attention_mask=(tokens != tiny.PAD_ID).long()).logits[:, :-1]
    for name, kind in (("program_loss", IN_PROGRAM), ("output_loss", IN_OUTPUT)):
        mask = kinds[:, 1:] == kind
        torch.testing.assert_close(terms[name], F.cross_entropy(logits[mask], tokens[:, 1:][mask]))


def test_the_learning_rate_rises_stays_and_falls_to_zero():
    slice = SMALL.model_copy(
        update={"warmup_steps": 10, "decay_from_step": 80, "decay_steps": 20, "learning_rate": 1.0}
    )
    rates = [learning_rate(slice, step) for step in range(110)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[50] == rates[80] == 1.0
    assert rates[90] == pytest.approx(0.5) and rates[99] == pytest.approx(0.05) and rates[100] == rates[109] == 0.0


def test_configuration_faults_are_named():
    with pytest.raises(ValidationError, match="even multiple of heads"):
        PretrainConfig(steps=1, decay_from_step=1, decay_steps=1, hidden_size=30, heads=4)
    with pytest.raises(ValidationError, match="at least context_tokens"):
        PretrainConfig(steps=1, decay_from_step=1, decay_steps=1, batch_tokens=100)
    assert all(field.description for field in PretrainConfig.model_fields.values())


def test_evaluation_counts_what_the_greedy_completion_solves(tokenizer, monkeypatch):
    generated = [generate_task(9, i) for i in range(6)]
    written = {
        0: generated[0].completion,
        1: generated[1].completion,
        2: generated[2].completion.replace("```", ""),
        3: generated[3].completion.replace("    return", "    grid = rot90(grid)\n    return"),
    }
    monkeypatch.setattr(pretraining, "_greedy", lambda *_: [written.get(i, "") for i in range(6)])
    model = new_model(SMALL.model_copy(update={"context_tokens": 1536, "batch_tokens": 2048}))
    result = evaluate(model, tokenizer, [g.task for g in generated])
    assert result["ids"] == [generated[0].task.task_id, generated[1].task.task_id]
    assert (result["tasks"], result["prompts"], result["solved"]) == (6, 6, 2)


def test_greedy_completions_do_not_depend_on_the_batch(tokenizer):
    model = rounded_copy(new_model(SMALL))
    prompts = [tiny.prompt_ids(generate_task(5, i).task, 0)[0][-200:] for i in range(5)]
    together = pretraining._greedy(model, tokenizer, prompts, batch_size=5)
    assert together == pretraining._greedy(model, tokenizer, prompts, batch_size=1)
    assert any(together)


def test_pretrain_from_end_to_end(tmp_path):
    lines = []
    metrics = pretrain(SMALL, 0, tmp_path / "a", lines.append)
    assert [line["event"] for line in lines] == ["start", "train", "train", "evaluation"]
    assert lines[2]["program_loss"] < lines[1]["program_loss"]
    assert metrics["steps"] == 6 and metrics["drawn_tasks"] / SMALL.draws_per_task <= metrics["generated_tasks"]
    assert json.loads((tmp_path / "a/metrics.json").read_text()) == metrics

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert model.config.vocab_size == len(tokenizer)
    for line in (tmp_path / "a/SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((tmp_path / "a" / name).read_bytes()).hexdigest() == digest

    pretrain(SMALL.model_copy(update={"evaluate_every": 2}), 0, tmp_path / "b", lambda _: None)
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in "ab"]
    assert weights[0] == weights[1]
