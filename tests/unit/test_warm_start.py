"""Warm start: targets that hold the program, examples, batches, and a run that is killed and goes on."""

import gzip
import hashlib
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors.torch import load_file
from synthetic import random_task, task_json
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from arc_precision.config.data import GeneratedSource
from arc_precision.config.experiment import load_experiment
from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.warm_start import (
    SolvedBarcSource,
    TargetConfig,
    TrialConfig,
    TrialSlice,
    WarmStartConfig,
    WarmStartSlice,
)
from arc_precision.language import tokenizer as tiny
from arc_precision.language.programs import parse_completion, solves
from arc_precision.prompts import barc_question, prompt_writer, render
from arc_precision.sampling.engines import Completion
from arc_precision.sandbox import Limits, run_programs
from arc_precision.sandbox.extraction import extract_program
from arc_precision.scoring.rewards import solved
from arc_precision.tasks import barc
from arc_precision.tasks.generator import generate_task
from arc_precision.tasks.grids import Pair, Task
from arc_precision.warm_start import fit, solutions
from arc_precision.warm_start.batches import IGNORED, Collator, in_batches, plan_batches
from arc_precision.warm_start.card import card, loss_figure
from arc_precision.warm_start.examples import make_examples
from arc_precision.warm_start.solutions import barc_completion, solved_chunks
from arc_precision.warm_start.targets import target_text
from arc_precision.warm_start.trial import try_model

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
        # The answer equals the prompt's text for the test pair as an example.
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
    monkeypatch.setattr(solutions, "CHUNK_TASKS", 7)
    (alone, dropped), (shared, also_dropped) = (make_examples(_slice(), tokenizer, workers) for workers in (0, 2))
    assert dropped == also_dropped and [e.task for e in alone] == [e.task for e in shared]
    assert all(np.array_equal(one.ids, other.ids) for one, other in zip(alone, shared, strict=True))


def test_limits_that_leave_too_little_are_named(tokenizer):
    with pytest.raises(ValueError, match=r"40 tasks have prompts longer than max_prompt_tokens 5.*held_out_tasks 4"):
        make_examples(_slice(max_prompt_tokens=5), tokenizer, 0)


# ------------------------------------------------------------------------------------------------ BARC's solutions

MAIN = """from common import *

# concepts:
# reflection, "colors"
def main(input_grid):
    # the teal side goes up; steal is no colour
    assert Color.TEAL == 8 and Color.Grey if False else True
    return np.flipud(input_grid)

def generate_input():
    return np.zeros((3, 3), dtype=int)
"""


@pytest.fixture
def barc_file(tmp_path):
    """Twelve tasks, every grid turned upside down by the task's own program."""
    rng = np.random.default_rng(0)
    tasks = {}
    for number in range(12):
        pairs = random_task(rng, max_side=6).pairs
        flipped = tuple(Pair(pair.input, np.flipud(pair.input)) for pair in pairs)
        tasks[f"barc_{number}"] = task_json(Task("", flipped[:-1], flipped[-1:])) | {"source": MAIN}
    path = tmp_path / "barc.json.gz"
    path.write_bytes(gzip.compress(json.dumps(tasks, indent=2).encode()))
    return path


def test_programs_of_barc_solve_their_tasks_as_answers_of_the_model(barc_file, monkeypatch):
    monkeypatch.setattr(barc, "READ_BYTES", 200)
    monkeypatch.setattr(barc, "CHUNK_BYTES", 2000)
    chunks = list(solved_chunks(SolvedBarcSource(path=str(barc_file), n_tasks=10)))
    assert len(chunks) > 2 and [chunk.start for chunk in chunks] == sorted({chunk.start for chunk in chunks})
    found = [pair for chunk in chunks for pair in chunk.solved()]
    assert [task.task_id for task, _ in found] == [f"barc_{number}" for number in range(10)]
    assert [chunk.start for chunk in chunks[1:]] == list(np.cumsum([len(chunk.solved()) for chunk in chunks])[:-1])
    programs = [extract_program(completion) for _, completion in found]
    verdicts = run_programs(programs, [[pair.input for pair in task.pairs] for task, _ in found], limits=Limits())
    assert all(solved(verdict, task) for (task, _), verdict in zip(found, verdicts, strict=True))


def test_an_answer_has_the_words_of_the_prompt():
    completion = barc_completion(MAIN + "\nTEAL, Grey_1, maroon")
    assert "generate_input" not in completion and "def main" not in completion
    assert "Color.PURPLE == 8 and Color.Gray" in completion and "the purple side" in completion
    assert "steal is" in completion and '"colors"' in completion


def test_examples_come_from_barc_as_well(barc_file, tokenizer, monkeypatch):
    monkeypatch.setattr(barc, "READ_BYTES", 200)
    monkeypatch.setattr(barc, "CHUNK_BYTES", 2000)
    slice = _slice(
        barc={"path": str(barc_file), "n_tasks": 11},
        held_out_tasks=2,
        max_prompt_tokens=900,
        max_completion_tokens=600,
        batch_tokens=1500,
    )
    examples, dropped = make_examples(slice, tokenizer, 0)
    assert [example.task for example in examples] == list(range(11)) and not any(vars(dropped).values())
    text = tokenizer.decode(examples[3].ids[examples[3].n_prompt :])
    assert text.startswith("Output of the test example:\n") and text.endswith(barc_completion(MAIN) + tiny.EOS)


def test_a_task_without_a_program_is_named(barc_file):
    tasks = json.loads(gzip.decompress(barc_file.read_bytes()))
    for source in (None, "def transform(grid): ..."):
        tasks["barc_1"]["source"] = source
        barc_file.write_bytes(gzip.compress(json.dumps(tasks).encode()))
        (chunk,) = solved_chunks(SolvedBarcSource(path=str(barc_file)))
        with pytest.raises(
            ValueError, match=r"barc.json.gz: task barc_1: no program to learn from; give each task its"
        ):
            chunk.solved()


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
    # Few of the computed tokens are padding.
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
    one, other = (load_file(tmp_path / f"checkpoints-{name}" / "checkpoint-5" / "model.safetensors") for name in "ab")
    assert {weight.dtype for weight in one.values()} == {torch.float32} and one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)

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
    with pytest.raises(ValidationError, match="held_out_tasks 40 leaves none of 30"):
        _slice(barc={"path": "x", "n_tasks": 30}, held_out_tasks=40)
    with pytest.raises(ValidationError, match="trial.source.seed 5 gives the tasks that the model learns from"):
        _slice(trial={"source": {"kind": "generated", "n_tasks": 3, "seed": 5}})
    _slice(barc={"path": "x"}, trial={"source": {"kind": "generated", "n_tasks": 3, "seed": 5}})  # learns from others


# ------------------------------------------------------------------------------------------------ trial and card


class _ScriptedSampler:
    """Knows the programs of the first tasks, and writes them every time, or every other time."""

    def __init__(self, tokenizer, programs: list[str]):
        self.answers = [tokenizer(program, add_special_tokens=False).input_ids for program in programs]

    def generate(self, prompts, seeds, slots=None):
        completions = []
        for prompt in range(len(prompts) // 2):
            always, sometimes = prompt == 0, prompt == 1
            for sample in range(2):
                known = always or (sometimes and sample == 1)
                ids = self.answers[prompt] if known else [65] * 30
                completions.append(Completion(ids, [0.0] * len(ids), not known))
        return completions


def test_a_trial_counts_what_is_solved(folder, tokenizer):
    source = GeneratedSource(kind="generated", n_tasks=8, seed=6)
    slice = TrialSlice(
        device="cpu",
        prompt="dsl",
        dtype="float32",
        trial=TrialConfig(source=source, n_samples=2),
        max_prompt_tokens=500,
        sampling={"max_completion_tokens": 90},
        sandbox=SandboxConfig(),
    )
    write = prompt_writer("dsl", tokenizer, 500)
    generated = [generate_task(6, index, source.depths) for index in range(8)]
    fitting = [made for made in generated if write(made.task, 0)[1] <= 500]
    assert 2 < len(fitting) < 8
    sampler = _ScriptedSampler(tokenizer, [made.completion for made in fitting])
    result = try_model(sampler, folder, slice, workers=1)
    n = len(fitting)
    assert (result["tasks"], result["prompt_too_long"]) == (n, 8 - n)
    assert result["solved_share"] == pytest.approx(1.5 / n)
    assert result["solved_share_standard_error"] == pytest.approx(np.std([1, 0.5] + [0] * (n - 2), ddof=1) / n**0.5)
    assert result["solved_sometimes_share"] == pytest.approx(1 / n)
    assert result["truncated_share"] == pytest.approx(1 - 1.5 / n)
    lengths = [len(ids) for ids in sampler.answers[:2]]
    assert result["completion_tokens_mean"] == pytest.approx((lengths[0] + (lengths[1] + 30) / 2 + 30 * (n - 2)) / n)
    with pytest.raises(ValueError, match="warm_start.max_prompt_tokens: 5 is less than every prompt of trial.source"):
        try_model(sampler, folder, slice.model_copy(update={"max_prompt_tokens": 5}), workers=1)


def test_a_trial_samples_as_plainly_as_the_loss_assumes():
    experiment = load_experiment(
        {"sampling": {"top_p": 0.95, "top_k": 5, "logit_noise": 0.1}, "warm_start": {"max_completion_tokens": 333}}
    )
    sampling = experiment.warm_start_trial_slice().sampling
    assert (sampling.top_p, sampling.top_k, sampling.logit_noise, sampling.max_completion_tokens) == (1.0, 0, 0, 333)
    more = load_experiment({"warm_start": {"trial": {"n_samples": 9}}})
    assert more.warm_start_slice() == load_experiment({}).warm_start_slice()  # no training anew for another trial


def test_the_card_shows_before_and_after_and_the_loss():
    spread = {"mean": 97.4, "median": 90.0, "p95": 194.0, "max": 400}
    metrics = {
        "parameters": 134515008,
        "device": "cpu",
        "tasks": 1000,
        "dropped": {"prompt_too_long": 30, "completion_too_long": 4},
        "held_out_tasks": 200,
        "prompt_tokens": spread,
        "completion_tokens": spread,
        "steps": 480,
        "passes": 2.5,
        "loss_first": 1.66,
        "loss_last": 0.17,
        "held_out_loss": 0.19,
        "seconds_training": 170.2,
    }
    trial = {
        "tasks": 200,
        "n_samples": 4,
        "solved_share": 0.0,
        "solved_share_standard_error": 0.0,
        "solved_sometimes_share": 0.0,
        "valid_share": 0.01,
        "truncated_share": 0.93,
        "completion_tokens_mean": 398.2,
    }
    after = trial | {"solved_share": 0.155, "solved_share_standard_error": 0.017, "completion_tokens_mean": 231.0}
    text = card("smollm2-135m", metrics, trial, after, "warm-start.svg")
    assert text.startswith("# smollm2-135m, warmed up")
    assert "| solved, share of completions | 0.000 (0.000) | 0.155 (0.017) |" in text
    assert "| length of a completion, tokens | 398 | 231 |" in text
    assert "800 learnt from, 2.50 times each; 34 dropped" in text and "97 on average, 95th percentile 194" in text
    assert "![Loss](../warm-start.svg)" in text
    history = [{"step": step, "loss": 1.66 / step} for step in (1, 20, 40)]
    assert loss_figure(history).count(" L") == 2
