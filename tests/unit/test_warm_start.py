"""Warm start: targets that hold the program, examples, batches, and a run that is killed and goes on."""

import hashlib
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from arc_precision.config.warm_start import TargetConfig, WarmStartConfig, WarmStartSlice
from arc_precision.language import tokenizer as tiny
from arc_precision.language.programs import parse_completion, solves
from arc_precision.prompts import barc_question, prompt_writer, render
from arc_precision.sandbox.extraction import extract_program
from arc_precision.tasks.generator import generate_task
from arc_precision.warm_start import examples as examples_module
from arc_precision.warm_start import fit
from arc_precision.warm_start.batches import IGNORED, Collator, in_batches, plan_batches
from arc_precision.warm_start.examples import make_examples
from arc_precision.warm_start.targets import target_text

STYLES = [TargetConfig(test_output=False), TargetConfig(), TargetConfig(train_outputs=1), TargetConfig(train_outputs=9)]


def _slice(**changes) -> WarmStartSlice:
    section = {
        "source": {"kind": "generated", "n_tasks": 40, "seed": 5},
        "max_prompt_tokens": 500,
        "max_completion_tokens": 90,
        "batch_tokens": 800,
        "steps": 5,
        "warmup_steps": 1,
        "held_out_tasks": 4,
        "checkpoint_every": 2,
        "log_every": 1,
        "learning_rate": 1e-2,
    }
    return WarmStartSlice(device="cpu", prompt="dsl", warm_start=WarmStartConfig(**{**section, **changes}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random model that reads the grid language."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tiny.VOCABULARY_SIZE,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tiny.CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=tiny.BOS_ID,
        eos_token_id=tiny.EOS_ID,
        pad_token_id=tiny.PAD_ID,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tiny.save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


# ------------------------------------------------------------------------------------------------ targets


@pytest.mark.parametrize("style", STYLES, ids=str)
@pytest.mark.parametrize("prompt_format", ["dsl", "barc"])
def test_a_target_holds_the_program_which_solves_the_task(style, prompt_format):
    for index in range(20):
        generated = generate_task(3, index)
        text = target_text(style, prompt_format, generated.task, generated.completion)
        program = extract_program(text)
        assert parse_completion(f"```python\n{program}\n```") == generated.program
        assert solves(generated.program, generated.task.pairs)


@pytest.mark.parametrize("prompt_format", ["dsl", "barc"])
def test_grids_are_written_in_the_words_of_the_prompt(prompt_format):
    for index in range(20):
        task = generate_task(4, index).task
        prompt = render("dsl", task, 0, None) if prompt_format == "dsl" else barc_question(task, 0)
        text = target_text(TargetConfig(train_outputs=9), prompt_format, task, "(program)")
        *train, test, program = text.split("\n\n")
        assert program == "(program)" and len(train) == len(task.train)
        mark = tiny.OUTPUT if prompt_format == "dsl" else "Output:\n"
        assert all(mark + part.split(":\n", 1)[1] + "\n" in prompt for part in train)
        # The answer is what the prompt would show if the test pair were an example.
        shown = type(task)(task.task_id, task.test, task.test)
        shown = render("dsl", shown, 0, None) if prompt_format == "dsl" else barc_question(shown, 0)
        assert mark + test.split(":\n", 1)[1] + "\n" in shown


def test_more_outputs_make_longer_targets():
    generated = generate_task(4, 0)
    lengths = [len(target_text(style, "barc", generated.task, generated.completion)) for style in STYLES]
    assert lengths == sorted(set(lengths))


# ------------------------------------------------------------------------------------------------ examples


def test_an_example_is_the_prompt_of_reinforcement_learning_then_the_target_and_the_end(tokenizer):
    slice = _slice()
    examples, dropped = make_examples(slice, tokenizer, 0)
    write = prompt_writer("dsl", tokenizer, slice.warm_start.max_prompt_tokens)
    for example in examples:
        generated = generate_task(5, example.task, slice.warm_start.source.depths)
        prompt, n_prompt = write(generated.task, 0)
        target = target_text(slice.warm_start.target, "dsl", generated.task, generated.completion)
        assert tokenizer.decode(example.ids[: example.n_prompt]) == prompt and example.n_prompt == n_prompt
        assert tokenizer.decode(example.ids[example.n_prompt :]) == target + tiny.EOS
    assert dropped.prompt_too_long and dropped.completion_too_long
    assert len(examples) + dropped.prompt_too_long + dropped.completion_too_long == 40


def test_examples_do_not_depend_on_the_number_of_workers(tokenizer, monkeypatch):
    monkeypatch.setattr(examples_module, "CHUNK_TASKS", 7)
    (alone, dropped), (shared, also_dropped) = (make_examples(_slice(), tokenizer, workers) for workers in (0, 2))
    assert dropped == also_dropped and [e.task for e in alone] == [e.task for e in shared]
    assert all(np.array_equal(one.ids, other.ids) for one, other in zip(alone, shared, strict=True))


def test_limits_that_leave_too_little_are_named(tokenizer):
    with pytest.raises(ValueError, match=r"40 tasks have prompts longer than max_prompt_tokens 5.*held_out_tasks 4"):
        make_examples(_slice(max_prompt_tokens=5), tokenizer, 0)


# ------------------------------------------------------------------------------------------------ batches


def test_a_pass_has_every_example_once_and_no_batch_is_too_large():
    lengths = [1 + (37 * i) % 400 for i in range(3000)]
    batches = plan_batches(lengths, 4000, 600, seed=1)
    assert len(batches) == 600 and batches == plan_batches(lengths, 4000, 600, seed=1)
    assert batches != plan_batches(lengths, 4000, 600, seed=2)
    assert all(len(batch) * max(lengths[i] for i in batch) <= 4000 for batch in batches)
    seen: list[int] = []
    while len(seen) < len(lengths):
        seen += batches.pop(0)
    assert sorted(seen) == list(range(3000))
    # Little of what is computed is padding.
    assert sum(lengths[i] for batch in batches for i in batch) > 0.9 * sum(
        len(batch) * max(lengths[i] for i in batch) for batch in batches
    )


def test_batches_of_an_order_keep_it():
    lengths = [5, 5, 9, 1, 20, 3]
    assert in_batches([0, 1, 2, 3, 4, 5], lengths, 20) == [[0, 1], [2, 3], [4], [5]]


def test_the_loss_of_a_padded_batch_is_that_of_its_completions_one_by_one(folder, tokenizer):
    examples, _ = make_examples(_slice(), tokenizer, 0)
    chosen = [0, 3, 5]
    batch = Collator(examples, tokenizer.eos_token_id)([{"examples": chosen}])
    labels = batch.pop("labels")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = model(**batch).logits[:, :-1]
        together = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum")
        alone, tokens = 0.0, 0
        for i in chosen:
            ids, start = torch.from_numpy(examples[i].ids).long()[None], examples[i].n_prompt
            alone += F.cross_entropy(model(ids).logits[0, start - 1 : -1], ids[0, start:], reduction="sum")
            tokens += ids.shape[1] - start
    assert int((labels != IGNORED).sum()) == tokens
    torch.testing.assert_close(together, alone)


# ------------------------------------------------------------------------------------------------ the run


class _KilledError(Exception):
    pass


def test_a_run_that_is_killed_goes_on_to_the_same_model(folder, tmp_path, monkeypatch):
    slice = _slice()
    done = []
    step = fit.SFTTrainer.training_step

    def counted(self, *args, **kwargs):
        if done.count("killed") == 0 and self.state.global_step == 3 and "b" in self.args.output_dir.split("/")[-1]:
            done.append("killed")
            raise _KilledError
        done.append(self.state.global_step)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(fit.SFTTrainer, "training_step", counted)

    def run(name: str) -> None:
        fit.warm_start(slice, folder, 0, tmp_path / name, tmp_path / f"checkpoints-{name}", tmp_path / f"{name}.jsonl")

    run("a")
    with pytest.raises(_KilledError):
        run("b")
    assert done == [0, 1, 2, 3, 4, 0, 1, 2, "killed"]
    run("b")
    assert done[done.index("killed") + 1 :] == [2, 3, 4]
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert one == other

    history = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == [1, 2, 3, 4, 5]
    assert history == [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in history]
    assert rates[0] == 0 and rates[1] == 1e-2 and rates[1:] == sorted(rates[1:], reverse=True)
    metrics = json.loads((tmp_path / "a/metrics.json").read_text())
    assert metrics["steps"] == 5 and metrics["held_out_loss"] < metrics["loss_first"] == history[0]["loss"]
    assert metrics["tasks"] + sum(metrics["dropped"].values()) == 40

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (folder / name).read_bytes()
    for line in (tmp_path / "a/SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((tmp_path / "a" / name).read_bytes()).hexdigest() == digest


def test_a_context_that_is_too_short_is_named(folder, tmp_path):
    short = LlamaConfig.from_pretrained(folder)
    short.max_position_embeddings = 64
    LlamaForCausalLM(short).save_pretrained(tmp_path / "short")
    tiny.save_tokenizer(tmp_path / "short")
    with pytest.raises(ValueError, match="and the model reads 64; lower max_prompt_tokens"):
        fit.warm_start(_slice(), tmp_path / "short", 0, tmp_path / "out", tmp_path / "checkpoints", tmp_path / "log")


def test_configuration_faults_are_named():
    with pytest.raises(ValidationError, match="cannot hold the longest example; write 590"):
        _slice(batch_tokens=589)
    with pytest.raises(ValidationError, match="warmup_steps 5 must be less than steps 5"):
        _slice(warmup_steps=5)
    with pytest.raises(ValidationError, match="held_out_tasks 40 leaves none of 40"):
        _slice(held_out_tasks=40)
