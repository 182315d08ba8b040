"""The typed configuration: generated files in step, and one clear sentence for each fault."""

from pathlib import Path

import pytest
import yaml

from arc_precision.config.base import from_settings, lay_over, settings
from arc_precision.config.document import SCHEMA_PATH, config_schema, config_yaml
from arc_precision.config.evaluation import SampleSlice
from arc_precision.config.experiment import ConfigError, ExperimentConfig, load_experiment
from arc_precision.config.training import TrainSlice
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
    "no arms": ({"run_arms": []}, "run_arms: the list is empty; write at least one arm"),
    "no seeds": ({"seeds": []}, "seeds: the list is empty; write at least one seed, such as [0]"),
    "a seed twice": ({"seeds": [1, 1]}, "seeds: [1, 1] names something twice"),
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
    "band": ({"perfectible": {"min_rate": 0.9}}, "perfectible: min_rate 0.9 is above max_rate 0.8; swap them"),
}


@pytest.mark.parametrize(("changes", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_fault_gets_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as fault:
        load_experiment(lay_over(DEFAULT, changes))
    message = str(fault.value)
    assert sentence in message
    assert len(message.splitlines()) == 1


def test_settings_say_all_and_nothing_else():
    slice = ExperimentConfig().train_slice("float16")
    lines = settings(slice)
    assert from_settings(TrainSlice, lines) == slice
    assert from_settings(TrainSlice, reversed(lines)) == slice
    changed = settings(load_experiment(lay_over(DEFAULT, {"training": {"beta": 0.1}})).train_slice("float16"))
    assert set(lines) ^ set(changed) == {"training.beta=0.0", "training.beta=0.1"}


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
    assert from_settings(SampleSlice, settings(slice)).sampling.temperature == 0
