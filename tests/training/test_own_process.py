"""vLLM in a process of its own takes adapters and draws as it does in the trainer's."""

import json
from pathlib import Path

import pytest
import torch
from forks import run_script
from own_process_probe import MODEL
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


def drawn(folder: Path, apart: bool) -> dict:
    output = folder / f"{apart}.json"
    run_script(Path(__file__).with_name("own_process_probe.py"), output, folder / "adapter", int(apart))
    return json.loads(output.read_text())


def test_it_takes_adapters_and_draws_as_in_the_trainers_process(tmp_path):
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=64, target_modules=["q_proj", "o_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(tmp_path / "adapter")
    inside, apart = drawn(tmp_path, apart=False), drawn(tmp_path, apart=True)
    assert (inside["core"], apart["core"]) == ("InprocClient", "SyncMPClient")
    assert inside["observed"] == apart["observed"]
    assert inside["wrappers"] == ["GroupedAdaptersWrapper"]
    assert inside["products"] == "arc_precision.sampling.cpu_products"
    for ours, theirs in zip(inside["drawn"], apart["drawn"], strict=True):
        assert [c["token_ids"] for c in ours] == [c["token_ids"] for c in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert a["logprobs"] == pytest.approx(b["logprobs"], abs=1e-4)
    assert apart["drawn"][0] != apart["drawn"][1]
