"""Measurements and files of a training step, with a tiny random model and a sampler that draws random tokens."""

import json
import math
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from pydantic import ValidationError
from safetensors.numpy import save
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PrinterCallback

from arc_precision.config.base import lay_over
from arc_precision.config.collapse import CollapseConfig
from arc_precision.config.experiment import ExperimentConfig, load_experiment
from arc_precision.config.sampling import SamplingConfig
from arc_precision.config.training import TrainingConfig
from arc_precision.contracts import layout
from arc_precision.contracts.steps import COMPLETION, COMPLETIONS, SCHEMA_VERSION, STEP
from arc_precision.contracts.steps import FACTS as KEPT_FACTS
from arc_precision.language.tokenizer import VOCABULARY_SIZE, save_tokenizer
from arc_precision.sampling.engines import Completion
from arc_precision.training import segment
from arc_precision.training.checkpoint_files import ALWAYS_SAVED, SegmentFiles, pass_on
from arc_precision.training.in_effect import check_in_effect
from arc_precision.training.scoring import Scored
from arc_precision.training.segment import SegmentOfRun, lora_config, run_segment
from arc_precision.training.step_log import StepLog
from arc_precision.training.trainer import PrecisionTrainer, grpo_config

GENERATIONS = 4
PROMPTS = [f"{number}{number}:" for number in range(10)]
RULES = {"smoothing_steps": 4, "patience_steps": 2, "min_steps": 4, "min_drop_standard_errors": 0}


class AnySampler:
    """Draws by the seed alone, and reports one and the same log-prob for every token."""

    dtype = torch.float32

    def __init__(self, logprob: float = -3.0) -> None:
        self.logprob = logprob
        self.seeds: list[list[int]] = []

    def generate(self, prompts, seeds):
        self.seeds.append(list(seeds))
        return [self._completion(np.random.default_rng(seed)) for seed in seeds]

    def _completion(self, rng):
        token_ids = rng.integers(10, VOCABULARY_SIZE, rng.integers(2, 6)).tolist()
        return Completion(token_ids, [self.logprob] * len(token_ids), False)

    def load_adapter(self, folder) -> None:
        pass


class AnyScorer:
    """Rewards from a function of the call's number and the number of completions."""

    isolation_level = "none"

    def __init__(self, rewards) -> None:
        self._rewards = rewards
        self.calls: list[list[float]] = []
        self._new: list[float] = []

    def start(self, row_ids, completions):
        rewards = self._rewards(len(self.calls), len(completions))
        self.calls.append(rewards)
        self._new = self._new + rewards
        return lambda: [Scored(reward, f"verdict {place}") for place, reward in enumerate(rewards)]

    def take(self):
        taken, self._new = self._new, []
        return Counter(ok=len(taken)), 0, 0, taken


def varied(call: int, n: int) -> list[float]:
    return [float((call + 3 * place) % 7) for place in range(n)]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(config).float().save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def slice_of(arm: str = "float32", **changes):
    training = {
        "per_device_train_batch_size": 2 * GENERATIONS,
        "num_generations": GENERATIONS,
        "segment_steps": 8,
        "max_grad_norm": 1000.0,
    }
    changes = lay_over(
        {"training": training, "evaluation": {"every": 8}, "audit": {"every": 8}, "max_steps": 8}, changes
    )
    return load_experiment(lay_over(ExperimentConfig().model_dump(mode="json"), changes)).train_slice(arm)


def trained(model_folder, tmp_path, steps, config, rewards=varied, sampler=None, before=()):
    """Train; returns the rows, TRL's own logs, the sampler, the scorer and the log."""
    sampler, scorer = sampler or AnySampler(), AnyScorer(rewards)
    trainer = PrecisionTrainer(
        config,
        0,
        sampler,
        scorer.start,
        model=LlamaForCausalLM.from_pretrained(model_folder),
        args=grpo_config(config, 0, steps, str(tmp_path / "trl")),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS * 8, "row_id": list(map(str, range(80)))}),
        processing_class=AutoTokenizer.from_pretrained(model_folder),
        peft_config=lora_config(config),
    )
    files = SimpleNamespace(**{kind: tmp_path / f"{kind}.jsonl" for kind in ("steps", "timing", "completions")})
    log = StepLog(config, trainer, scorer, files, 0, steps, list(before))
    logs, on_log = [], log.on_log
    log.on_log = lambda args, state, control, logs=None, **kw: (seen(logs), on_log(args, state, control, logs, **kw))[1]

    def seen(values):
        if "loss" in values:
            logs.append(dict(values))

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(log)
    trainer.train()
    rows = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    kept = [json.loads(line) for line in files.completions.read_text().splitlines()]
    return SimpleNamespace(rows=rows, kept=kept, logs=logs, sampler=sampler, scorer=scorer, log=log, trainer=trainer)


def test_a_row_has_the_keys_of_the_contract_and_counts_of_its_step(model_folder, tmp_path):
    run = trained(model_folder, tmp_path, 2, slice_of())
    assert [row["step"] for row in run.rows] == [1, 2]
    for row, rewards in zip(run.rows, run.scorer.calls, strict=True):
        assert {key for key in row if not key.startswith("mismatch/")} == set(STEP)
        assert row["reward_mean"] == pytest.approx(np.mean(rewards))
        assert row["verdicts"] == {"ok": 2 * GENERATIONS} and row["valid_share"] == 1
        assert row["mismatch/sequence_count"] == 2 * GENERATIONS
        assert not row["skipped"] and not row["nonfinite"]


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"kept_completions": 5},
        {"steps_per_generation": 2},
        {"num_iterations": 2},
        {"gradient_accumulation_steps": 2},
    ],
)
def test_completions_are_kept_with_what_they_got(training, model_folder, tmp_path):
    """The first completion of every group of a batch is kept, then the second, at the step whose loss uses them
    first."""
    slice = slice_of(training=training)
    run = trained(model_folder, tmp_path, 4, slice)
    assert [row["step"] for row in run.kept] == [1, 2, 3, 4] and all(
        row.keys() == COMPLETIONS.keys() for row in run.kept
    )
    n_kept, batches = training.get("kept_completions", 2), len(run.sampler.seeds)
    kept = [each for row in run.kept for each in row["completions"]]
    assert len(kept) == n_kept * batches and all(each.keys() == COMPLETION.keys() for each in kept)
    if "num_iterations" in training:
        assert [len(row["completions"]) for row in run.kept] == [2, 0, 2, 0]
    size = len(run.sampler.seeds[0])
    places = sorted(range(size), key=lambda place: (place % GENERATIONS, place))[:n_kept]
    drawn = []
    for seeds, rewards in zip(run.sampler.seeds, run.scorer.calls, strict=True):
        for place in places:
            completion = run.sampler._completion(np.random.default_rng(seeds[place]))
            text = run.trainer.processing_class.decode(completion.token_ids, skip_special_tokens=True)
            drawn.append((text, len(completion.token_ids), rewards[place], f"verdict {place}"))
    assert sorted((c["text"], c["tokens"], c["reward"], c["verdict"]) for c in kept) == sorted(drawn)
    for each in kept:
        assert each["sampler_logp_mean"] == -3 and not each["truncated"]
        # The trainer's log-probs of a random model lie near -ln of the vocabulary's size.
        assert each["log_ratio"] == pytest.approx(each["tokens"] * (3 - math.log(VOCABULARY_SIZE)), abs=1)


def test_log_ratios_of_kept_completions_are_those_that_are_measured(model_folder, tmp_path):
    slice = slice_of(training={"kept_completions": 100})
    run = trained(model_folder, tmp_path, 2, slice)
    for row, kept in zip(run.rows, run.kept, strict=True):
        ratios = [each["log_ratio"] for each in kept["completions"]]
        assert len(ratios) == 2 * GENERATIONS
        assert np.mean(ratios) == pytest.approx(row["mismatch/seq_log_ratio_mean"], abs=1e-9)
        assert max(ratios) == pytest.approx(row["mismatch/seq_log_ratio_max"], abs=1e-9)


@pytest.mark.parametrize("logprob", [-30.0, -0.01])
def test_d_is_trainer_minus_sampler(logprob, model_folder, tmp_path):
    """The trainer's log-probs of a random model lie near -ln of the vocabulary's size."""
    (row,) = trained(model_folder, tmp_path, 1, slice_of(), sampler=AnySampler(logprob)).rows
    assert row["mismatch/kl_sampler_trainer_k1"] == pytest.approx(logprob + math.log(VOCABULARY_SIZE), abs=1)
    assert np.sign(row["mismatch/seq_log_ratio_mean"]) == (1 if logprob == -30 else -1)


@pytest.mark.parametrize(
    "training",
    [
        {"gradient_accumulation_steps": 4},
        {"gradient_accumulation_steps": 4, "steps_per_generation": 2},
        {"gradient_accumulation_steps": 1},
    ],
)
def test_no_seed_is_drawn_with_twice(training, model_folder, tmp_path):
    """Two passes of one step use different seeds too, as they may have the same prompts."""
    run = trained(model_folder, tmp_path, 2, slice_of(training=training))
    seeds = [seed for call in run.sampler.seeds for seed in call]
    assert len(seeds) == 2 * training["gradient_accumulation_steps"] * 2 * GENERATIONS
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(("passes", "loss_type"), [(1, "bnpo"), (4, "bnpo"), (2, "dapo")])
def test_the_loss_of_a_step_is_the_mean_of_its_passes(passes, loss_type, model_folder, tmp_path):
    """It is TRL's logged loss, not divided by the passes a second time."""
    slice = slice_of(training={"gradient_accumulation_steps": passes, "loss_type": loss_type, "beta": 0.5})
    run = trained(model_folder, tmp_path, 2, slice)
    assert run.rows[1]["loss"] != pytest.approx(0, abs=1e-3)
    for row, logs in zip(run.rows, run.logs, strict=True):
        assert row["loss"] == pytest.approx(logs["loss"], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_equal_groups_are_counted_by_group_whatever_rewards_are_scaled_by(scale, model_folder, tmp_path):
    def half_equal(call, n):
        return [5.0] * GENERATIONS + varied(call, n - GENERATIONS)

    slice = slice_of(training={"scale_rewards": scale, "gradient_accumulation_steps": 2})
    for row in trained(model_folder, tmp_path, 2, slice, half_equal).rows:
        assert row["frac_reward_zero_std"] == 0.5


class HalfCut(AnySampler):
    """No completion has an end token; every second one is cut, and a stop string ends the others."""

    def generate(self, prompts, seeds):
        drawn = super().generate(prompts, seeds)
        return [replace(completion, truncated=number % 2 == 1) for number, completion in enumerate(drawn)]


@pytest.mark.parametrize(("masked", "counted"), [(True, GENERATIONS), (False, 2 * GENERATIONS)])
def test_what_a_stop_string_ends_is_learnt_from_where_truncated_completions_are_not(
    masked, counted, model_folder, tmp_path
):
    training = {"mask_truncated_completions": masked, "loss_type": "dapo"}
    run = trained(model_folder, tmp_path, 2, slice_of(training=training), sampler=HalfCut())
    for row in run.rows:
        assert row["mismatch/sequence_count"] == counted and row["truncated_share"] == 0.5
    batch = run.trainer._buffered_inputs[0]
    assert batch["num_items_in_batch"] == batch["completion_mask"].sum() > 0
    assert batch["completion_mask"].any(dim=1).sum() == counted


def test_a_run_that_uses_its_batches_twice_stops_where_its_reward_is_gone(model_folder, tmp_path):
    """Every second step has no reward of its own."""
    slice = slice_of(training={"num_iterations": 2}, collapse=RULES | {"early_stop": True}, max_steps=40)
    run = trained(model_folder, tmp_path, 40, slice, lambda call, n: varied(call, n) if call < 8 else [0.0] * n)
    assert [row["reward_mean"] is None for row in run.rows[:4]] == [False, True, False, True]
    assert [row["frac_reward_zero_std"] is None for row in run.rows[:4]] == [False, True, False, True]
    assert run.log.status == "collapsed"
    assert 18 < len(run.rows) < 40 and run.trainer.state.global_step == len(run.rows)


def row_before(step: int, **changes) -> dict:
    healthy = {"loss": 0.1, "reward_mean": 1.0, "truncated_share": 0.0, "frac_reward_zero_std": 0.2, "applied_steps": 0}
    return healthy | {"step": step, "nonfinite": False, "skipped": False} | changes


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"skipped": True, "nonfinite": True, "grad_norm": None}, "running"),
        ({"nonfinite": True, "grad_norm": None}, "running"),
        ({"loss": None, "nonfinite": True}, "failed"),
        ({"loss": None, "nonfinite": True, "skipped": True}, "failed"),
    ],
)
def test_a_run_fails_by_its_loss_and_not_by_skipped_updates(changes, status):
    log = StepLog.__new__(StepLog)
    log._slice = slice_of()
    log._trainer = SimpleNamespace(control=SimpleNamespace(should_training_stop=False, should_save=False))
    log.status = "running"
    log.rows = [row_before(step, **changes) for step in range(1, log._slice.nonfinite_steps)]
    log._decide()
    assert log.status == "running"
    log.rows.append(row_before(len(log.rows) + 1, **changes))
    log._decide()
    assert log.status == status
    assert log._trainer.control.should_training_stop == (status == "failed")


def test_skipped_updates_are_counted_and_end_no_run(model_folder, tmp_path):
    """float16 with a loss scale that overflows at every step."""
    slice = slice_of("float16", training={"loss_scale": {"init_scale": 2.0**60}})
    steps = slice.nonfinite_steps + 2
    run = trained(model_folder, tmp_path, steps, slice)
    assert len(run.rows) == steps and run.log.status == "running"
    for row in run.rows:
        assert row["skipped"] and row["applied_steps"] == 0
        assert row["grad_norm"] is None and row["loss"] is not None
    assert [row["loss_scale"] for row in run.rows] == [2.0 ** (60 - step) for step in range(steps)]


def test_beta_reaches_the_loss(model_folder, tmp_path):
    with_kl = trained(model_folder, tmp_path, 2, slice_of(training={"beta": 0.5})).rows
    without = trained(model_folder, tmp_path, 2, slice_of()).rows
    assert without[1]["kl_base"] is None
    assert with_kl[0]["kl_base"] == pytest.approx(0, abs=1e-6) and with_kl[1]["kl_base"] > 0
    assert with_kl[1]["loss"] > without[1]["loss"]


@pytest.mark.parametrize("weighted", [True, False])
def test_the_kl_is_weighted_by_the_ratio_only_where_it_is_asked_for(weighted, tmp_path):
    slice = slice_of(training={"beta": 0.1, "use_bias_correction_kl": weighted})
    args = grpo_config(slice, 0, 1, str(tmp_path))
    assert args.use_bias_correction_kl is weighted and args.beta == 0.1
    assert TrainingConfig().use_bias_correction_kl is False


def test_a_kl_of_tokens_is_not_weighted_by_the_ratio_of_a_sequence():
    with pytest.raises(ValidationError, match="beta 0.1 with importance_sampling_level sequence.*write beta: 0"):
        TrainingConfig(beta=0.1, importance_sampling_level="sequence")
    assert TrainingConfig(importance_sampling_level="sequence").beta == 0


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant_with_warmup"])
def test_a_falling_schedule_ends_at_its_own_horizon(kind, model_folder, tmp_path):
    """Not at the end of the segment."""
    horizon = None if kind == "constant_with_warmup" else 8
    training = {"lr_scheduler_type": kind, "schedule_steps": horizon, "learning_rate": 1e-3}
    run = trained(model_folder, tmp_path, 4, slice_of(training=training))
    done = np.arange(4) / 8
    factor = {"linear": 1 - done, "cosine": (1 + np.cos(np.pi * done)) / 2, "constant_with_warmup": np.ones(4)}[kind]
    assert [row["learning_rate"] for row in run.rows] == pytest.approx(list(1e-3 * factor))


class GrowingSampler(AnySampler):
    """Completions twice as long from the third step on."""

    def _completion(self, rng):
        n_tokens = 4 if len(self.seeds) < 3 else 8
        return Completion(rng.integers(10, VOCABULARY_SIZE, n_tokens).tolist(), [self.logprob] * n_tokens, False)


DROP = {"signal": "completion_length", "rise": 1.4, "factor": 0.1, "window_steps": 2}


def test_the_learning_rate_falls_when_completions_grow_and_updates_with_it(model_folder, tmp_path):
    schedule = {"lr_scheduler_type": "linear", "schedule_steps": 8, "learning_rate": 1e-3}
    slice = slice_of(training=schedule | {"lr_drop": DROP})
    run = trained(model_folder, tmp_path, 6, slice, sampler=GrowingSampler())
    assert [row["completion_tokens_mean"] for row in run.rows] == [4, 4, 8, 8, 8, 8]
    factors = np.array([1, 1, 1, 1, 0.1, 0.1])  # mean of steps 3 and 4: twice that of 1 and 2
    assert [row["learning_rate"] for row in run.rows] == pytest.approx(list(1e-3 * factors * (1 - np.arange(6) / 8)))
    assert run.trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * (1 - 6 / 8))  # the scheduler's own


@pytest.mark.parametrize(("lengths", "factor"), [([4, 4, 8, 8], 0.1), ([4, 4, 4, 4], 1.0)])
def test_a_resumed_run_falls_by_the_steps_before_it(lengths, factor, model_folder, tmp_path):
    empty = dict.fromkeys(STEP) | {"mismatch/seq_log_ratio_std": None}
    before = [
        empty | row_before(step, completion_tokens_mean=float(length)) for step, length in enumerate(lengths, start=1)
    ]
    training = {"lr_drop": DROP, "learning_rate": 1e-3}
    moved = {}
    for name, rows in (("resumed", before), ("new", [])):
        run = trained(model_folder, tmp_path / name, 1, slice_of(training=training), before=rows)
        moved[name] = {n: p.detach() for n, p in run.trainer.model.named_parameters() if "lora_B" in n}
        assert run.rows[0]["learning_rate"] == pytest.approx(1e-3 * (factor if rows else 1))
    for name, weight in moved["new"].items():  # B begins at 0, so it is the update
        torch.testing.assert_close(moved["resumed"][name], factor * weight)


def test_evaluation_draws_from_all_tokens_whatever_training_draws_from():
    changes = {"sampling": {"top_k": 7, "repetition_penalty": 1.1, "top_p": 0.5, "temperature": 1.0}}
    config = load_experiment(lay_over(ExperimentConfig().model_dump(mode="json"), changes | {"audit": {"every": 1000}}))
    name = next(iter(config.evaluation_sets))
    for arm in (None, "float32"):
        sampling = config.sample_slice(arm, name, "float32").sampling
        assert (sampling.top_k, sampling.repetition_penalty) == (0, 1.0)
        assert (sampling.top_p, sampling.temperature) == (config.evaluation.top_p, config.evaluation.temperature)
    assert config.train_slice("float32").sampling.top_k == 7


def test_evaluation_samples_in_the_dtype_it_names_and_nothing_else():
    formats = {"head_dtype": "float32", "quantization": "fp8", "kv_cache_dtype": "fp8", "batch_invariant": True}
    changes = {"device": "cuda", "sampling": formats, "evaluation": {"common_dtype": "float16"}}
    config = load_experiment(lay_over(ExperimentConfig().model_dump(mode="json"), changes))
    sampling = config.sample_slice("float16", next(iter(config.evaluation_sets)), "float16").sampling
    assert {key: getattr(sampling, key) for key in formats} == {
        key: SamplingConfig.model_fields[key].default for key in formats
    }
    assert config.audit_draw_slice("float16").sampling.quantization == "fp8"
    assert config.audit_sampler_slice("float16", "bfloat16", "applied").sampling.in_float8 is False


PRECISION = {
    "float32": ("float32", "float32", None, "float32", "float32", False),
    "float16": ("float16", "float32", "float16", "float16", "float16", True),
    "bfloat16": ("bfloat16", "float32", "bfloat16", "bfloat16", "bfloat16", False),
}
FACTS = ("trainer_dtype", "adapter_dtype", "autocast_dtype", "sampler_dtype", "sampler_head_dtype", "loss_scaler")
EVERY_LAYER = {"adapter_layers": dict.fromkeys(TrainingConfig().lora.target_modules, 2)}
PLAIN = {
    "deterministic": False,
    "sampler_matrix_dtype": "bfloat16",
    "sampler_kv_cache_dtype": "auto",
    "sampler_batch_invariant": False,
}


def test_a_layer_that_was_to_carry_an_adapter_and_does_not_is_refused():
    in_effect = dict(zip(FACTS, PRECISION["float32"], strict=True)) | {"adapter_layers": {"q_proj": 2}}
    with pytest.raises(ValueError, match="no layer k_proj carries an adapter; the adapter is in q_proj"):
        check_in_effect(slice_of("float32"), in_effect)


@pytest.mark.parametrize("dtype", PRECISION)
def test_another_precision_in_effect_than_was_asked_for_is_refused(dtype):
    slice = slice_of(dtype)
    in_effect = dict(zip(FACTS, PRECISION[dtype], strict=True)) | EVERY_LAYER | PLAIN
    check_in_effect(slice, in_effect)
    for fact in FACTS:
        other = not in_effect[fact] if fact == "loss_scaler" else "float8"
        with pytest.raises(ValueError, match=f"^{fact}: {in_effect[fact]} was asked for, but {other} is in effect"):
            check_in_effect(slice, in_effect | {fact: other})


def test_the_weights_of_a_base_in_4_bits_have_no_dtype_to_check():
    config = slice_of("bfloat16").model_copy(update={"load_in_4bit": True})
    in_effect = dict(zip(FACTS, PRECISION["bfloat16"], strict=True)) | EVERY_LAYER | PLAIN
    check_in_effect(config, in_effect | {"trainer_dtype": "uint8"})
    with pytest.raises(ValueError, match="adapter_dtype"):
        check_in_effect(config, in_effect | {"adapter_dtype": "bfloat16"})


@pytest.mark.parametrize(
    ("section", "facts", "sentence"),
    [
        ({"head_dtype": "float32"}, {"sampler_head_dtype": "bfloat16"}, "sampler_head_dtype: float32 was asked for"),
        ({"kv_cache_dtype": "fp8"}, {"sampler_kv_cache_dtype": "auto"}, "sampler_kv_cache_dtype: fp8 was asked for"),
        ({"batch_invariant": True}, {"sampler_batch_invariant": False}, "sampler_batch_invariant: True was asked for"),
        (
            {"quantization": "fp8"},
            {"sampler_matrix_dtype": "bfloat16"},
            "quantization: fp8 .* matrices are in bfloat16",
        ),
        ({}, {"sampler_matrix_dtype": "bfloat16, float8_e4m3fn"}, "quantization: none .* in bfloat16, float8_e4m3fn"),
        ({}, {"deterministic": True}, "deterministic: False was asked for"),
    ],
)
def test_another_sampler_in_effect_than_was_asked_for_is_refused(section, facts, sentence):
    asked = slice_of("bfloat16")
    asked = asked.model_copy(update={"sampling": asked.sampling.model_copy(update=section)})
    in_effect = dict(zip(FACTS, PRECISION["bfloat16"], strict=True)) | EVERY_LAYER | PLAIN
    granted = {
        "sampler_head_dtype": "float32" if "head_dtype" in section else "bfloat16",
        "sampler_kv_cache_dtype": asked.sampling.kv_cache_dtype,
        "sampler_batch_invariant": asked.sampling.batch_invariant,
        "sampler_matrix_dtype": "bfloat16" + ", float8_e4m3fn" * ("quantization" in section),
    }
    check_in_effect(asked, in_effect | granted)
    with pytest.raises(ValueError, match=sentence):
        check_in_effect(asked, in_effect | granted | facts)


ADAPTER = ("adapter_model.safetensors", "adapter_config.json")


def empty_state(path):
    """Content of an archive with the usual files of a trainer's state, all empty."""
    with tarfile.open(path, "w") as archive:
        for name in ALWAYS_SAVED:
            archive.addfile(tarfile.TarInfo(name))
    return path.read_bytes()


@pytest.mark.parametrize("names", [ADAPTER, ("model.safetensors", "config.json")])
@pytest.mark.parametrize("status", ["failed", "collapsed"])
@pytest.mark.parametrize("how", [pass_on, run_segment])
def test_a_run_that_has_stopped_keeps_its_checkpoint_and_state(status, how, names, tmp_path):
    previous = tmp_path / "checkpoint-4"
    previous.mkdir()
    whole = save({"a": np.ones(1)}), b'{"r": 1, "target_modules": [], "architectures": []}'
    contents = dict(zip(names, whole, strict=True)) | {"trainer_state.tar": empty_state(tmp_path / "state.tar")}
    for name, content in contents.items():
        (previous / name).write_bytes(content)
    before = dict.fromkeys(KEPT_FACTS) | {
        "schema_version": SCHEMA_VERSION,
        "status": status,
        "stopped_at": 3,
        "observed": {},
    }
    (tmp_path / "facts-4.json").write_text(json.dumps(before))
    files = SegmentFiles.of_run(tmp_path, 4, 8, train=tmp_path / "absent.parquet", model=tmp_path)
    if how is pass_on:
        pass_on(files, before)
    else:
        run_segment(slice_of(), [0], 4, 8, [files], workers=1, memory=None, kept={}, reporting=[{}])
    assert {path.name: path.read_bytes() for path in files.checkpoint.iterdir()} == contents
    assert files.steps.read_text() == files.timing.read_text() == files.completions.read_text() == ""
    assert json.loads(files.facts.read_text()) == (before if how is pass_on else before | {"seeds_of_job": [0]})


def test_a_run_does_not_begin_in_another_precision_than_was_asked_for(model_folder, tmp_path, monkeypatch):
    prompts = {number: {"prompt": PROMPTS[number], "row_id": str(number)} for number in range(4)}
    monkeypatch.setattr(segment, "count_rows", lambda *_: len(prompts))
    monkeypatch.setattr(segment, "segment_rows", lambda *_: (prompts, {}))
    files = SegmentFiles.of_run(tmp_path, 0, 8, train=tmp_path / "absent.parquet", model=model_folder)

    def begin(dtype: torch.dtype) -> SegmentOfRun:
        sampler, scorer = AnySampler(), AnyScorer(varied)
        sampler.dtype = dtype
        sampler.observed = {key.removeprefix("sampler_"): value for key, value in PLAIN.items() if "sampler_" in key}
        sampler.observed["head_dtype"] = "float32"
        scorer.beside = lambda *_: scorer
        together = SimpleNamespace(sampler=lambda number: sampler)
        base = LlamaForCausalLM.from_pretrained(model_folder)
        return SegmentOfRun(slice_of(), 0, 0, 8, files, base, together, 0, scorer, {}, {})

    begin(torch.float32)
    with pytest.raises(ValueError, match="sampler_dtype: float32 was asked for, but bfloat16 is in effect"):
        begin(torch.bfloat16)


@pytest.mark.parametrize(("status", "stopped_at"), [("running", None), ("failed", 3), ("collapsed", 3)])
def test_facts_tell_the_state_of_a_run_and_the_step_at_which_it_stopped(status, stopped_at, tmp_path, monkeypatch):
    run = SegmentOfRun.__new__(SegmentOfRun)
    run._slice, run._observed, run._kept = slice_of(), {"device": "cpu"}, {"commit": "abc"}
    run._trainer = SimpleNamespace(state=SimpleNamespace(global_step=3))
    run._log = SimpleNamespace(status=status, rows=[row_before(step) for step in (1, 2, 3)])
    run._scratch = tmp_path
    run._files = SegmentFiles.of_run(tmp_path, 0, 8, train=tmp_path / "absent.parquet", model=tmp_path)
    (tmp_path / "checkpoint-3").mkdir()
    packed = []
    monkeypatch.setattr(segment, "pack_checkpoint", lambda *folders: packed.append(folders))
    run._write()
    assert packed == [(tmp_path / "checkpoint-3", tmp_path / "checkpoint-8")]
    facts = json.loads((tmp_path / "facts-8.json").read_text())
    assert (facts["status"], facts["stopped_at"], facts["commit"]) == (status, stopped_at, "abc")
    rows = [json.loads(line) for line in (tmp_path / "checkpoint-3/steps.jsonl").read_text().splitlines()]
    assert rows == run._log.rows


def test_the_rules_of_a_run_are_those_of_its_report():
    """Only early stopping makes the rules a part of training."""
    assert slice_of().collapse is None
    assert slice_of(collapse=RULES | {"early_stop": True}).collapse == CollapseConfig(**RULES, early_stop=True)


def test_files_of_a_segment_lie_where_the_layout_says():
    files = SegmentFiles.of_run(Path("runs/a/seed-3"), 10, 20, train=Path("rows"), model=Path("model"))

    def path(kind, stop):
        return Path(kind.path(arm="a", seed=3, stop=stop))

    assert (files.steps, files.timing, files.facts) == tuple(
        path(kind, 20) for kind in (layout.STEPS, layout.TIMING, layout.FACTS)
    )
    assert files.checkpoint == path(layout.ADAPTER, 20).parent == path(layout.STATE, 20).parent
    assert (files.previous, files.previous_facts) == (path(layout.STATE, 10).parent, path(layout.FACTS, 10))
    first = SegmentFiles.of_run(Path("runs/a/seed-3"), 0, 10, train=Path("rows"), model=Path("model"))
    assert first.previous is None and first.previous_facts is None


@pytest.mark.parametrize("changes", [{"training": {"sync": "merge"}}, {"sampling": {"engine": "transformers"}}])
def test_seeds_that_cannot_share_a_sampler_do_not_train_together(changes):
    with pytest.raises(ValueError, match=r"seeds \[0, 1\] cannot train in one job"):
        run_segment(slice_of(**changes), [0, 1], 0, 8, [], workers=1, memory=None, kept={}, reporting=[])
