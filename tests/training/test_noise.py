"""Doses of mismatch: they have the configured size, they affect the sampler alone, and seeds decide them."""

import json
from pathlib import Path

import pytest
import torch
from forks import run_script
from noise_probe import MODEL, NOISE, PROMPTS, SEEDS
from peft import get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from arc_precision.config.experiment import ConfigError, ExperimentConfig, load_experiment
from arc_precision.sampling.engines import completion_seed
from arc_precision.sampling.handover import AdapterHandover, noisy_adapter
from arc_precision.training.segment import lora_config


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> list[dict]:
    output = tmp_path_factory.mktemp("noise") / "completions.json"
    run_script(Path(__file__).with_name("noise_probe.py"), output)
    return json.loads(output.read_text())


def test_reported_logprobs_are_those_of_the_noisy_logits(drawn):
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    for prompt, seed, completion in zip(PROMPTS, SEEDS, drawn, strict=False):
        tokens = completion["token_ids"]
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        for number, (token, logprob) in enumerate(zip(tokens, completion["logprobs"], strict=True)):
            generator = torch.Generator().manual_seed(completion_seed(seed, number))
            noisy = logits[number] + NOISE * torch.randn(logits.shape[-1], generator=generator)
            assert logprob == pytest.approx(noisy.log_softmax(-1)[token].item(), abs=1e-3)
            clean = logits[number].log_softmax(-1)[token].item()
            assert logprob != pytest.approx(clean, abs=1e-4) or clean > -1e-2


def test_noise_on_logits_does_not_depend_on_the_batch(drawn):
    together, alone = drawn[2], drawn[3]
    assert together["token_ids"] == alone["token_ids"]
    assert together["logprobs"] == pytest.approx(alone["logprobs"], abs=1e-4)


def test_noise_on_weights_is_on_the_sampler_lora_b_alone_and_of_the_size_asked_for():
    slice = load_experiment(ExperimentConfig().model_dump(mode="json")).train_slice("float32")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32), lora_config(slice))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    noisy = noisy_adapter(model, 0.03, seed=7)
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name])
    changes = {name: weight - before[name] for name, weight in noisy.items()}
    assert all((change != 0).all() == ("lora_B" in name) for name, change in changes.items())
    added = torch.cat([change.flatten() for name, change in changes.items() if "lora_B" in name])
    assert added.std().item() == pytest.approx(0.03, rel=0.05) and abs(added.mean().item()) < 0.001
    again, other = noisy_adapter(model, 0.03, seed=7), noisy_adapter(model, 0.03, seed=8)
    assert all(torch.equal(again[name], noisy[name]) for name in noisy)
    assert not any(torch.equal(other[name], noisy[name]) for name in noisy if "lora_B" in name)


class SamplerThatReads:
    def load_adapter(self, folder):
        self.loaded = load_file(folder / "adapter_model.safetensors")


def handed_over(model, noise: float, seed: int, step: int) -> dict[str, torch.Tensor]:
    sampler = SamplerThatReads()
    handover = AdapterHandover(sampler, noise, seed)
    handover.sync(model, step)
    handover.close()
    return sampler.loaded


def test_the_sampler_gets_noise_anew_at_each_step_and_the_same_again_in_another_job():
    slice = load_experiment(ExperimentConfig().model_dump(mode="json")).train_slice("float32")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32), lora_config(slice))
    (name, *_) = [name for name in handed_over(model, 0.0, 3, 5) if "lora_B" in name]
    noisy = handed_over(model, 0.03, 3, 5)[name]
    assert handed_over(model, 0.0, 3, 5)[name].abs().max() == 0 < noisy.abs().max()
    assert torch.equal(handed_over(model, 0.03, 3, 5)[name], noisy)
    for seed, step in ((3, 6), (4, 5)):
        assert not torch.equal(handed_over(model, 0.03, seed, step)[name], noisy)


def test_evaluation_and_audit_sample_without_noise():
    doses = {"weight_noise": 0.1, "logit_noise": 0.2}
    config = ExperimentConfig().model_dump(mode="json") | {"sampling": doses}
    experiment = load_experiment(config)
    assert experiment.train_slice("float16").sampling.weight_noise == 0.1
    slices = (
        experiment.sample_slice("float16", "arc-agi-1-evaluation", "float32"),
        experiment.audit_draw_slice("float16"),
        experiment.audit_sampler_slice("float16", "float32", "applied"),
    )
    for part in slices:
        assert part.sampling.weight_noise == part.sampling.logit_noise == 0


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"training": {"sync": "merge"}, "sampling": {"weight_noise": 0.1}}, "write sync: adapter"),
        ({"sampling": {"engine": "transformers", "logit_noise": 0.1}}, "write logit_noise: 0"),
    ],
)
def test_noise_that_nothing_could_add_is_refused(section, sentence):
    arm = {"trainer_dtype": "float32", "sampler_dtype": "float32", **section}
    config = ExperimentConfig().model_dump(mode="json") | {"arms": {"a": arm}, "run_arms": ["a"]}
    with pytest.raises(ConfigError, match=sentence):
        load_experiment(config)
