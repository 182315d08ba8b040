"""Full fine-tuning without training: refusals, memory, plans, and the report."""

import json

import pytest
from report_fixture import Plan, make_results
from tiny_models import TINY

from arc_precision.config.base import lay_over
from arc_precision.config.experiment import ConfigError, ExperimentConfig, load_experiment
from arc_precision.model.folder import count_parameters, weight_files
from arc_precision.plan import inputs
from arc_precision.plan.seed_groups import BASE_JOB, SeedsJob
from arc_precision.report.build import build_report
from arc_precision.sampling.engines import EngineMemory
from arc_precision.training.in_effect import check_in_effect
from arc_precision.training.memory import GIB, check_fits
from arc_precision.training.segment import run_segment

WHOLE = {"training": {"lora": None}}
GPU = {"device": "cuda", "evaluation": {"common_dtype": "float16"}}


def experiment(*changes: dict) -> ExperimentConfig:
    config = ExperimentConfig().model_dump(mode="json")
    for change in (WHOLE, *changes):
        config = lay_over(config, change)
    return load_experiment(config)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"training": {"sync": "merge"}}, "training: sync merge has nothing to merge with lora: null; write sync: ad"),
        (
            {"sampling": {"weight_noise": 0.1}},
            "sampling.weight_noise: 0.1 of arm float16 is noise on an adapter, and training.lora: null hands none "
            "over; write weight_noise: 0",
        ),
        (
            GPU | {"model": {"load_in_4bit": True}},
            "model.load_in_4bit: true has weights that cannot be trained, and training.lora: null of arm float16 tr",
        ),
        ({"training": {"lora": 8}}, "training.lora: 8 is not possible; write keys with their values below it"),
    ],
)
def test_what_full_fine_tuning_cannot_do_is_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        experiment(changes)


def test_an_arm_may_train_an_adapter_beside_others_that_do_not():
    both = experiment({"arms": {"float16": {"training": {"lora": {"r": 4}}}}})
    assert both.training_of("float16").lora.r == 4 and both.training_of("bfloat16").lora is None
    assert both.sample_slice("float16", "arc-agi-1-training", "float32").lora_r == 4
    assert both.sample_slice("bfloat16", "arc-agi-1-training", "float32").lora_r == 0
    names = {}
    for arm in ("float16", "bfloat16"):
        paths = inputs.trained_files(both, SeedsJob(arm, (0,), (10,)), 10)
        names[arm] = [path.rpartition("/")[2] for path in paths]
    assert names == {
        "float16": ["adapter_model.safetensors", "adapter_config.json"],
        "bfloat16": ["model.safetensors", "config.json"],
    }
    assert inputs.trained_files(both, BASE_JOB, 0) == []
    before = inputs.previous_segment(both, SeedsJob("bfloat16", (0,), (20,)), 20)
    assert [path.rpartition("/")[2] for path in before] == [*names["bfloat16"], "trainer_state.tar", "facts-10.json"]
    scored = inputs.audit_scored(both, "bfloat16/seed-0", 20)
    assert not any("merged" in path for path in scored)
    assert any("merged" in path for path in inputs.audit_scored(both, "float16/seed-0", 20))


def test_float32_sampling_on_a_gpu_needs_no_adapter_kernels():
    in_float32 = {"arms": {"float16": {"sampler_dtype": "float32"}}}
    assert experiment(GPU, in_float32).arms["float16"].sampler_dtype == "float32"
    with pytest.raises(ConfigError, match="sampler_dtype: float32 on a GPU is not possible"):
        experiment(GPU, {"training": {"lora": {"r": 8}}}, in_float32)


def test_seeds_do_not_share_weights_that_are_trained():
    with pytest.raises(ValueError, match=r"seeds \[0, 1\] cannot train in one job: only vLLM with training.lora"):
        run_segment(experiment().train_slice("float32"), [0, 1], 0, 10, [], 1, EngineMemory(0.3), {}, [])


@pytest.mark.parametrize(
    ("training", "memory", "billions"),
    [
        ({}, EngineMemory(0.25), 60 / 16),
        ({"beta": 0.1}, EngineMemory(0.25), 60 / 20),
        ({"optim": "adamw_8bit"}, EngineMemory(0.25), 60 / 10),
        ({}, EngineMemory(0.25, kv_cache_bytes=8 * GIB), 72 / 18),
    ],
)
def test_the_largest_model_that_fits_80_gib(training, memory, billions):
    slice = experiment(GPU, {"training": training}).train_slice("bfloat16")
    most = int(billions * GIB)
    check_fits(slice, most, 80 * GIB, memory)
    with pytest.raises(ValueError, match="training.lora: null needs .* bytes each, .* write an adapter under training"):
        check_fits(slice, int(1.01 * most), 80 * GIB, memory)


def test_parameters_are_counted_from_the_headers():
    assert count_parameters(weight_files(TINY)) == 6_516_992


IN_EFFECT = {
    "trainer_dtype": "float32",
    "adapter_dtype": None,
    "adapter_layers": {},
    "autocast_dtype": "bfloat16",
    "sampler_dtype": "bfloat16",
    "loss_scaler": False,
    "deterministic": False,
    "sampler_head_dtype": "bfloat16",
    "sampler_matrix_dtype": "bfloat16",
    "sampler_kv_cache_dtype": "auto",
    "sampler_batch_invariant": False,
}


@pytest.mark.parametrize(
    "other", [{"trainer_dtype": "bfloat16"}, {"adapter_dtype": "float32"}, {"autocast_dtype": None}]
)
def test_weights_that_are_not_in_float32_are_refused(other):
    slice = experiment().train_slice("bfloat16")
    check_in_effect(slice, IN_EFFECT)
    with pytest.raises(ValueError, match=f"{next(iter(other))}: .* was asked for"):
        check_in_effect(slice, IN_EFFECT | other)


@pytest.mark.parametrize("autocast", ["bfloat16", "float16"])
def test_the_report_holds_autocast_against_the_dtype_that_was_asked_for(autocast, tmp_path):
    slice = make_results(tmp_path, Plan(seeds=(0,), n_tasks=8, n_samples=2, max_steps=20))
    for path in tmp_path.glob("runs/bfloat16/seed-0/facts-*.json"):
        facts = json.loads(path.read_text())
        facts["observed"] |= IN_EFFECT | {"autocast_dtype": autocast}
        path.write_text(json.dumps(facts))
    report = build_report(slice, tmp_path)
    assert {arm.name: arm.trainer_observed for arm in report.arms} == {"float16": "float16", "bfloat16": autocast}
    wrong = [note.text for note in report.warnings if "the trainer ran in" in note.text]
    assert len(wrong) == (autocast != "bfloat16")
