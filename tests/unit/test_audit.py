"""The audit: the trainer's side computes the same as training, and the join separates planted causes."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from arc_precision.audit import join
from arc_precision.audit.audited import Audited, batches, read_completions, read_prompts, scored_rows
from arc_precision.audit.sampler_side import audit_sampler, load_checkpoint, prefill_logprobs
from arc_precision.audit.trainer_side import Policy
from arc_precision.config.audit import AuditJoinSlice, AuditTrainerSlice, Processing, audit_engines
from arc_precision.config.base import as_words, from_words, lay_over
from arc_precision.config.experiment import ConfigError, ExperimentConfig, load_experiment
from arc_precision.config.sampling import SamplingConfig
from arc_precision.contracts.audit_files import AUDIT, batch_variant, setting_name
from arc_precision.contracts.parquet import write_rows
from arc_precision.language.tokenizer import VOCABULARY_SIZE, save_tokenizer
from arc_precision.mismatch.chain import Setting, available_orders, observed_causes, settings_along
from arc_precision.mismatch.metric_dictionary import METRICS
from arc_precision.mismatch.number_format import number_format
from arc_precision.mismatch.processing import processed_logprobs
from arc_precision.sampling.engines import EngineMemory
from arc_precision.sampling.handover import whole_weights
from arc_precision.training.base_model import load_base
from arc_precision.training.segment import lora_config
from arc_precision.training.trainer import PrecisionTrainer, grpo_config

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"
EXPERIMENTS = ROOT / "experiments"
DTYPES = ("float16", "bfloat16", "float32")


def experiment(**changes) -> ExperimentConfig:
    return load_experiment(lay_over(ExperimentConfig().model_dump(mode="json"), changes))


# --- a small checkpoint ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A base model in bfloat16 with peaked distributions."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    shape = dict(
        vocab_size=VOCABULARY_SIZE, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.3, pad_token_id=256, eos_token_id=258,
    )  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**shape)).to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(model, tmp_path_factory) -> Path:
    """An adapter with a visible effect."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    peft = get_peft_model(base, lora_config(ExperimentConfig().train_slice("float32")))
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    peft.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def completions() -> list[Audited]:
    """Three prompts of different lengths with two completions each."""
    rng = np.random.default_rng(2)
    prompts = [rng.integers(0, 256, n).tolist() for n in (12, 5, 20)]
    return [
        Audited(f"task{i}", sample, prompt, rng.integers(0, 256, rng.integers(1, 9)).tolist())
        for i, prompt in enumerate(prompts)
        for sample in range(2)
    ]


def trainer_slice(dtype: str, shared_prompt: bool, head: str = "model") -> AuditTrainerSlice:
    changes = {"training": {"shared_prompt": shared_prompt}, "audit": {"batch_sizes": [4, 3]}}
    return experiment(**changes).audit_trainer_slice("float32", number_format(dtype, head))


# --- the trainer's side ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory) -> Path:
    """A checkpoint of full fine-tuning with weights that no half precision can hold."""
    folder = tmp_path_factory.mktemp("whole")
    torch.manual_seed(1)
    trained = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        for weight in trained.parameters():
            weight += 0.05 * torch.randn_like(weight)
    trained.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("shared_prompt", [True, False], ids=["shared prompt", "padded"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_audit_of_a_whole_model_scores_what_the_loss_scores(
    dtype, shared_prompt, model, whole, completions, tmp_path
):
    slice = experiment(training={"shared_prompt": shared_prompt, "lora": None}).train_slice(dtype)
    trainer = PrecisionTrainer(
        slice,
        0,
        sampler=None,
        score=None,
        model=load_base(whole, "float32", load_in_4bit=False),
        args=grpo_config(slice, 0, 1, str(tmp_path)),
        train_dataset=Dataset.from_dict({"prompt": ["x"], "row_id": ["x"]}),
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    trainer.model.train()
    policy = Policy(trainer_slice(dtype, shared_prompt), model, whole)
    ids, mask = policy._padded(completions)
    n = max(len(c.token_ids) for c in completions)
    expected, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, n, compute_entropy=True)
    scored = policy.logprobs(completions, len(completions))
    for c, row, values in zip(completions, expected.detach().numpy(), scored, strict=True):
        np.testing.assert_array_equal(values, row[: len(c.token_ids)])


@pytest.mark.parametrize("shared_prompt", [True, False], ids=["shared prompt", "padded"])
@pytest.mark.parametrize("head", ["model", "float32"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_audit_scores_what_the_loss_scores(dtype, head, shared_prompt, model, adapter, completions, tmp_path):
    """Equal to the last bit to the trainer itself in training mode."""
    slice = experiment(training={"shared_prompt": shared_prompt, "head_dtype": head}).train_slice(dtype)
    trainer = PrecisionTrainer(
        slice,
        0,
        sampler=None,
        score=None,
        model=AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)),
        args=grpo_config(slice, 0, 1, str(tmp_path)),
        train_dataset=Dataset.from_dict({"prompt": ["x"], "row_id": ["x"]}),
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=lora_config(slice),
    )
    weights = load_file(adapter / "adapter_model.safetensors")
    names = {name.replace(".weight", ".default.weight"): tensor for name, tensor in weights.items()}
    missing = trainer.model.load_state_dict(names, strict=False).missing_keys
    assert not [name for name in missing if "lora" in name]
    trainer.model.train()

    policy = Policy(trainer_slice(dtype, shared_prompt, head), model, adapter)
    ids, mask = policy._padded(completions)
    n = max(len(c.token_ids) for c in completions)
    expected, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, n, compute_entropy=True)
    scored = policy.logprobs(completions, len(completions))
    for c, row, values in zip(completions, expected.detach().numpy(), scored, strict=True):
        np.testing.assert_array_equal(values, row[: len(c.token_ids)])


def test_half_precision_rounds_and_batches_do_not_move_float32(model, adapter, completions):
    exact = np.concatenate(Policy(trainer_slice("float32", True), model, adapter).logprobs(completions, 4))
    other = np.concatenate(Policy(trainer_slice("float32", True), model, adapter).logprobs(completions, 3))
    half = np.concatenate(Policy(trainer_slice("bfloat16", True), model, adapter).logprobs(completions, 4))
    assert np.abs(exact - other).max() < 1e-5
    assert 1e-3 < np.abs(exact - half).mean() < 0.5


def test_logits_and_the_fused_head_agree(model, adapter, completions):
    policy = Policy(trainer_slice("float32", True), model, adapter)
    for c, logits, logprobs in zip(
        completions, policy.logits(completions), policy.logprobs(completions, 4), strict=True
    ):
        assert logits.shape == (len(c.token_ids), VOCABULARY_SIZE)
        np.testing.assert_allclose(processed_logprobs(logits, c.token_ids, c.prompt_ids), logprobs, atol=1e-5)


# --- the sampler's side (plain generation; the engines themselves are tested where they may start) --------------------


def checkpoint_sampler(model, adapter, dtype="float32", merged=False, **sampling):
    config = SamplingConfig(engine="transformers", max_completion_tokens=12, **sampling)
    engine = audit_sampler(config, model, adapter, merged, dtype, "cpu", 20, EngineMemory(0.3))
    load_checkpoint(engine, model, adapter, merged)
    return engine


@pytest.mark.parametrize("merged", [False, True], ids=["applied", "merged"])
def test_prefill_of_the_sampler_agrees_with_the_trainer_in_float32(merged, model, adapter, completions):
    scored = prefill_logprobs(checkpoint_sampler(model, adapter, merged=merged), completions, 4)
    expected = Policy(trainer_slice("float32", True), model, adapter).logprobs(completions, 4)
    np.testing.assert_allclose(np.concatenate(scored), np.concatenate(expected), atol=2e-5)


def test_the_sampler_of_a_whole_model_has_its_weights_rounded_once(model, whole, completions):
    exact = np.concatenate(Policy(trainer_slice("float32", True), model, whole).logprobs(completions, 4))
    base = np.concatenate(prefill_logprobs(checkpoint_sampler(model, model), completions, 4))
    scored = np.concatenate(prefill_logprobs(checkpoint_sampler(model, whole), completions, 4))
    np.testing.assert_allclose(scored, exact, atol=2e-5)
    assert np.abs(base - exact).mean() > 0.1
    stored = load_file(whole / "model.safetensors")
    for dtype in (torch.float16, torch.bfloat16):
        in_use = checkpoint_sampler(model, whole, str(dtype).removeprefix("torch."))._model.state_dict()
        for name, weight in stored.items():
            assert torch.equal(in_use[name], weight.to(dtype)) and not torch.equal(weight.to(dtype).float(), weight)


def test_merging_rounds_in_half_precision_alone(model, adapter, completions):
    exact = np.concatenate(Policy(trainer_slice("float32", True), model, adapter).logprobs(completions, 4))

    def distance(dtype):
        base = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
        merged = dict(whole_weights(PeftModel.from_pretrained(base, adapter), getattr(torch, dtype)))
        sampler = checkpoint_sampler(model, adapter, merged=True)  # computes in float32
        sampler.load_weights((name, weight.float()) for name, weight in merged.items())
        return np.abs(np.concatenate(prefill_logprobs(sampler, completions, 4)) - exact).mean()

    assert distance("float32") < 1e-5
    assert 1e-5 < distance("float16") < distance("bfloat16") / 3


def test_top_p_of_an_arm_shows_in_d_and_in_the_counterfactuals(model, adapter, tmp_path):
    """Drawn with top_p 0.95 in float32, where nothing else makes a difference."""
    rng = np.random.default_rng(3)
    prompts = [rng.integers(0, 256, 8).tolist() for _ in range(24)]
    sampler = checkpoint_sampler(model, adapter, top_p=0.95)
    drawn = sampler.generate(prompts, range(24))
    completions = [
        Audited(f"task{i}", 0, prompt, c.token_ids) for i, (prompt, c) in enumerate(zip(prompts, drawn, strict=True))
    ]
    config = experiment(arms={"float32": {"sampling": {"top_p": 0.95}}})
    written = write_float32_audit(config, model, adapter, sampler, completions, drawn, tmp_path)
    chain = join.chain(config.audit_join_slice("float32"), written)

    causes = {row["cause"]: row for row in chain["causes"]}
    assert causes["total"]["mean"] == pytest.approx(causes["decode"]["mean"], abs=1e-5)
    assert -0.0513 - 1e-5 <= causes["total"]["mean"] < -0.02
    assert causes["decode"]["share"] > 0.99
    rows = {row["name"]: row for row in chain["counterfactuals"]}
    assert rows["top_p 0.95"]["in_effect"] and not rows["repetition_penalty 1.05"]["in_effect"]
    assert rows["top_p 0.95"]["shift_mean"] == pytest.approx(causes["total"]["mean"], abs=1e-5)
    assert 0.045 < rows["top_p 0.95"]["shift_abs_max"] <= 0.0513
    assert rows["top_p 0.95"]["never_drawn_count"] == 0
    # Compared with d without the truncation, which is only float32 noise here.
    assert rows["top_p 0.95"]["share"] > 0.99


def write_float32_audit(config, model, adapter, sampler, completions, drawn, folder) -> list[Path]:
    """Every engine setting of a float32 arm, as the rules would write them; both samplers are the same."""
    prefill = prefill_logprobs(sampler, completions, 4)
    draw = [
        scored_rows(completions, setting_name("sampler", "float32", phase="decode"), "", [c.logprobs for c in drawn])
    ]
    for variant in ("", batch_variant(3)):
        draw.append(scored_rows(completions, setting_name("sampler", "float32"), variant, prefill))
    merged = [scored_rows(completions, setting_name("sampler", "float32", "merged"), "", prefill)]
    policy, setting = (
        Policy(trainer_slice("float32", True), model, adapter),
        setting_name("trainer", "float32"),
    )
    trainer = [
        scored_rows(completions, setting, variant, policy.logprobs(completions, size))
        for size, variant in ((4, ""), (3, batch_variant(3)))
    ]
    for processing in config.audit_trainer_slice("float32", "float32").processings:
        logprobs = [
            processed_logprobs(logits, c.token_ids, c.prompt_ids, **processing.model_dump())
            for c, logits in zip(completions, policy.logits(completions), strict=True)
        ]
        trainer.append(scored_rows(completions, setting, processing.name, logprobs))
    paths = []
    for name, groups in (
        ("draw", draw),
        ("sampler.float32.merged", merged),
        ("trainer.float32", trainer),
    ):
        paths.append(folder / f"{name}.parquet")
        write_rows(paths[-1], AUDIT, groups)
    return paths


# --- the join --------------------------------------------------------------------------------------------------------


class Scored:
    """Files of a synthetic audit in which one cause is planted; everything else agrees to 1e-7."""

    def __init__(self, folder: Path, planted: str, merged=False, head_apart=False, float8=False):
        rng = np.random.default_rng(4)
        self.config = AuditJoinSlice(
            trainer_dtype="float16", sampler_dtype="float16", trainer_head="model", sampler_head="model",
            head_apart=head_apart, float8=float8, merged=merged, other_batch_size=3,
            processings=(Processing(top_p=0.95),), in_effect=Processing(),
        )  # fmt: skip
        self.completions = [Audited(f"t{i}", 0, [1], rng.integers(0, 9, 5 + i).tolist()) for i in range(12)]
        n = sum(len(c.token_ids) for c in self.completions)
        true = -rng.exponential(0.7, n)
        start, causes = observed_causes("float16", "float16", merged, head_apart=head_apart, float8=float8)
        self.planted = rng.normal(0, 0.01, n)
        before = [cause.name for cause in causes].index(planted) + 1
        exact = setting_name("trainer", "float32"), setting_name("sampler", "float16")
        self.rows: dict[str, list] = {}
        for i, setting in enumerate(settings_along(start, causes)):
            self.add("/".join(setting), "", true + (self.planted if i < before else 0) + rng.normal(0, 1e-7, n))
        self.add("/".join(start), batch_variant(3), true + self.planted + rng.normal(0, 1e-7, n))
        other = [] if merged is None else [setting_name("sampler", "float16", "merged")]
        for name in (*(s for s in exact if s not in self.rows), *other):
            self.add(name, "", true)
        adapter = "merged" if merged else "applied"
        drawn = setting_name("sampler", "float16", adapter, storage="float8" if float8 else "plain")
        self.add(drawn, batch_variant(3), true)
        self.add(exact[0], "none", true)
        self.add(exact[0], "top_p 0.95", true + 0.03)
        self.paths = []
        for i, group in enumerate(self.rows.values()):
            self.paths.append(folder / f"{i}.parquet")
            write_rows(self.paths[-1], AUDIT, group)

    def add(self, setting: str, variant: str, values: np.ndarray) -> None:
        if any(rows[0]["variant"] == variant for rows in self.rows.get(setting, [])):
            return
        split = np.split(values, np.cumsum([len(c.token_ids) for c in self.completions])[:-1])
        self.rows.setdefault(setting, []).append(scored_rows(self.completions, setting, variant, split))


@pytest.mark.parametrize(
    ("planted", "how"),
    [
        *(("trainer_rounding", {}), ("engine", {}), ("sampler_rounding", {}), ("decode", {})),
        *(("merge", {"merged": True}), ("float8", {"float8": True})),
        *(("trainer_rounding", {"merged": None}), ("float8", {"merged": None, "float8": True})),
        *((name, {"head_apart": True}) for name in ("trainer_head", "trainer_rounding", "engine", "sampler_head")),
    ],
)
def test_a_planted_cause_comes_out_of_the_files(planted, how, tmp_path):
    scored = Scored(tmp_path, planted, **how)
    chain = join.chain(scored.config, scored.paths)
    causes = {row["cause"]: row for row in chain["causes"]}
    assert causes[planted]["share"] >= 0.9
    assert causes[planted]["mean"] == pytest.approx(scored.planted.mean(), abs=1e-6)
    assert sum(row["mean"] for name, row in causes.items() if name != "total") == pytest.approx(
        causes["total"]["mean"], abs=1e-15
    )
    rows = {row["name"]: row for row in chain["counterfactuals"]}
    merged = how.get("merged", False)
    assert chain["merged"] is merged
    assert ("merged adapter" in rows) is (merged is False and not how.get("float8", False))
    assert ("float32 heads" in rows) is how.get("head_apart", False)
    if planted.endswith("_head"):
        # Without the planted rounding d is 0 up to float32 noise.
        assert rows["float32 heads"]["shift_mean"] == pytest.approx(-causes["total"]["mean"], abs=1e-6)
    assert chain["noise_floor"]["logp_diff_abs_mean"] < 1e-6
    assert chain["metrics"].keys() == {metric.key for metric in METRICS} == chain["noise_floor"].keys()
    assert sum(row["token_count"] for row in chain["by_position"]) == causes["total"]["token_count"]
    json.dumps(chain, allow_nan=False)


def test_one_dtype_gives_the_orders_with_the_engine_first_and_last(tmp_path):
    scored = Scored(tmp_path, "engine")
    orders = join.chain(scored.config, scored.paths)["orders"]
    assert orders[0] == ["trainer_rounding", "engine", "sampler_rounding", "decode"]
    assert ["engine", "trainer_rounding", "sampler_rounding", "decode"] in orders
    assert ["trainer_rounding", "sampler_rounding", "engine", "decode"] in orders


@pytest.mark.parametrize(
    "heads", [("model", "model"), ("model", "float32"), ("float32", "model"), ("float32", "float32")]
)
@pytest.mark.parametrize(("trainer", "sampler"), [(a, b) for a in DTYPES for b in DTYPES])
def test_where_both_sides_round_the_engine_comes_at_any_place(trainer, sampler, heads):
    """From the names of the scored files alone."""
    for merged, head_apart, float8 in product((False, True, None), (False, True), (False, True)):
        if float8 and (merged or sampler == "float32"):
            continue
        formats = number_format(trainer, heads[0]), number_format(sampler, heads[1])
        names = audit_engines(*formats, merged, head_apart, float8)
        assert len(set(names)) == len(names)
        drawn = "sampler", formats[1], "merged" if merged else "applied"
        assert (".".join(drawn) in names) is float8
        assert any("merged" in part for part in (*names, *drawn)) is not (merged is None or float8)
        settings = [setting_name(*name.split(".")) for name in names]
        settings += [setting_name(*drawn, phase, "float8" if float8 else "plain") for phase in ("prefill", "decode")]
        scored = {Setting(*name.split("/")): None for name in settings}
        start, causes = observed_causes(*formats, merged, head_apart, float8)
        orders = {tuple(cause.name for cause in order) for order in available_orders(scored, start, causes)}
        stated = tuple(cause.name for cause in causes)
        first = next(i for i, name in enumerate(stated) if name in ("float8", "merge", "decode"))
        roundings, last = tuple(name for name in stated[:first] if name != "engine"), stated[first:]
        places = range(len(roundings) + 1) if "float32" not in (trainer, sampler) else [stated.index("engine")]
        assert orders == {(*roundings[:i], "engine", *roundings[i:], *last) for i in places}
        n_heads = sum(form in ("float16", "bfloat16") for form in formats)
        assert sum("head" in name for name in stated) == (n_heads if head_apart else 0)


def test_engine_settings_are_named_by_their_number_formats():
    assert audit_engines("bfloat16", "float32", False) == [
        "trainer.bfloat16", "trainer.float32", "sampler.float32.merged"
    ]  # fmt: skip
    assert audit_engines("float16-float32-head", "float16-float32-head", True, head_apart=True) == [
        "trainer.float16-float32-head", "trainer.float32",
        "sampler.float16-float32-head.applied", "sampler.float32.applied",
    ]  # fmt: skip


def test_a_chain_that_does_not_sum_is_refused(tmp_path, monkeypatch):
    scored = Scored(tmp_path, "engine")
    honest = join.chain_steps

    def off_by_a_bit(*arguments):
        steps = honest(*arguments)
        steps.iloc[7, 1] += 2.0**-40
        return steps

    monkeypatch.setattr(join, "chain_steps", off_by_a_bit)
    with pytest.raises(ArithmeticError, match="at token 7"):
        join.chain(scored.config, scored.paths)


def test_files_of_other_completions_are_refused(tmp_path):
    scored = Scored(tmp_path, "engine")
    row = scored.completions[3]
    other = [Audited(c.row_id, c.sample, c.prompt_ids, [7] * len(c.token_ids)) for c in scored.completions]
    write_rows(
        scored.paths[1],
        AUDIT,
        [scored_rows(other, "trainer/float32/applied/prefill/plain", "", [[0.0] * len(c.token_ids) for c in other])],
    )
    with pytest.raises(ValueError, match="has other tokens"):
        join.chain(scored.config, scored.paths)
    write_rows(
        scored.paths[1],
        AUDIT,
        [[row.row("trainer/float32/applied/prefill/plain", "", [0.0] * len(row.token_ids))]],
    )
    with pytest.raises(ValueError, match="1 of 12 completions are scored"):
        join.chain(scored.config, scored.paths)


def test_a_missing_setting_is_named(tmp_path):
    scored = Scored(tmp_path, "engine")
    files = dict(zip(scored.rows, scored.paths, strict=True))
    del files["sampler/float32/applied/prefill/plain"]
    with pytest.raises(ValueError, match="No log-probs were scored for Setting.*sampler.*float32"):
        join.chain(scored.config, files.values())


def test_the_script_writes_chain_json(tmp_path):
    scored = Scored(tmp_path, "decode")
    output = tmp_path / "chain.json"
    command = [sys.executable, SCRIPTS / "audit_join.py", "--output", output, "--slice", *as_words(scored.config)]
    done = subprocess.run([*command, "--", *scored.paths], env={"PYTHONPATH": str(SCRIPTS.parent)}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(output.read_text()) == join.chain(scored.config, scored.paths)


# --- settings --------------------------------------------------------------------------------------------------------


def test_a_processing_is_named_by_what_it_does():
    assert Processing().name == "none"
    assert Processing(top_p=0.95).name == "top_p 0.95"
    assert Processing(top_k=50, repetition_penalty=1.05).name == "repetition_penalty 1.05, top_k 50"


def test_an_arms_own_processing_is_tried_once():
    own = experiment(arms={"float16": {"sampling": {"top_p": 0.95}}})
    names = [p.name for p in own.audit_trainer_slice("float16", "float32").processings]
    assert names == ["none", "top_p 0.95", "repetition_penalty 1.05"]
    assert own.audit_join_slice("float16").in_effect.name == "top_p 0.95"
    other = experiment(arms={"float16": {"sampling": {"top_k": 20}}}).audit_join_slice("float16")
    assert [p.name for p in other.processings] == ["top_p 0.95", "repetition_penalty 1.05", "top_k 20"]


def test_slices_hold_what_decides_and_nothing_else():
    before = experiment()
    after = experiment(audit={"counterfactual_top_p": 0.9, "every": 10})
    assert after.audit_draw_slice("float16") == before.audit_draw_slice("float16")
    assert after.audit_trainer_slice("float16", "float16") == before.audit_trainer_slice("float16", "float16")
    assert after.audit_trainer_slice("float16", "float32") != before.audit_trainer_slice("float16", "float32")
    assert after.audit_sampler_slice("float16", "float32", "applied") == before.audit_sampler_slice(
        "float16", "float32", "applied"
    )
    assert experiment(training={"learning_rate": 1e-3}).audit_join_slice("float16") == before.audit_join_slice(
        "float16"
    )
    slice = before.audit_trainer_slice("float16", "float32")
    assert from_words(AuditTrainerSlice, as_words(slice)) == slice


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sampling": {"temperature": 0.8}}, "sampling.temperature: 0.8 of arm float16 cannot be audited"),
        ({"training": {"lora": {"target_modules": ["lm_head"]}}}, "lm_head of arm float16 cannot be audited"),
        ({"audit": {"batch_sizes": [4, 4]}}, "audit: batch_sizes [4, 4] are equal"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as fault:
        experiment(**changes)
    assert sentence in str(fault.value)
    assert len(str(fault.value).splitlines()) == 1


def test_nothing_is_refused_where_nothing_is_audited():
    experiment(sampling={"temperature": 0.8}, audit={"every": 40})


def test_completions_are_read_back_in_the_order_they_were_drawn(tmp_path, model, completions):
    from report_fixture import Plan, make_results

    make_results(tmp_path, Plan())
    tasks = next((tmp_path / "data").glob("*.parquet"))
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompts = read_prompts(tasks, tokenizer, 2)
    assert len(prompts) == 2
    drawn = [Audited(row_id, s, prompts[row_id], [5, 6 + s]) for row_id in prompts for s in range(2)]
    decode = scored_rows(drawn, setting_name("sampler", "float16", phase="decode"), "", [[-1.0, -2.0]] * 4)
    prefill = scored_rows(drawn, setting_name("sampler", "float16"), "", [[-1.0, -2.0]] * 4)
    write_rows(tmp_path / "draw.parquet", AUDIT, [decode, prefill])
    assert read_completions(tmp_path / "draw.parquet", tasks, tokenizer) == drawn


def test_batches_are_full_but_the_last(completions):
    assert [len(batch) for batch in batches(completions, 4)] == [4, 2]


# --- experiments -----------------------------------------------------------------------------------------------------


SANITY = yaml.safe_load((EXPERIMENTS / "sanity.yaml").read_text()) | {"device": "cpu"}


@pytest.mark.parametrize("arm", experiment(**SANITY).run_arms)
def test_algorithms_reach_trl_as_the_presets_say(arm, tmp_path):
    slice = experiment(**SANITY).train_slice(arm)
    dtype, algorithm = arm.split("-", 1)
    assert slice.trainer_dtype == slice.sampler_dtype == dtype
    args = grpo_config(slice, 0, 1, str(tmp_path))
    correction = args.vllm_importance_sampling_mode if args.vllm_importance_sampling_correction else None
    assert correction == {
        "token-tis": "token_truncate",
        "sequence-mis": "sequence_mask",
        "is-pg": "sequence_truncate",
    }.get(algorithm)
    normalised = algorithm in ("grpo", "gspo")
    assert (args.loss_type, args.scale_rewards) == (("grpo", "group") if normalised else ("dr_grpo", "none"))
    assert (args.importance_sampling_level == "sequence") == (algorithm == "gspo")
    # All but the plain policy gradient use a batch in several updates.
    assert (args.steps_per_generation == 1) == (algorithm == "is-pg")


def test_the_grid_has_every_pair_of_dtypes_once():
    grid = experiment(**yaml.safe_load((EXPERIMENTS / "precision-grid.yaml").read_text()))
    pairs = {(grid.arms[arm].trainer_dtype, grid.arms[arm].sampler_dtype) for arm in grid.run_arms}
    assert pairs == {(a, b) for a in DTYPES for b in DTYPES}
    assert len(grid.run_arms) == 9
