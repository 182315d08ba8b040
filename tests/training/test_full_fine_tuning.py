"""Full fine-tuning: the sampler has the trainer's weights, and a run may be cut anywhere.

In float32 only the weights can make a difference between trainer and sampler.
"""

import json
from pathlib import Path

import pytest
import torch
from forks import WORKFLOW, run_script
from safetensors.torch import load_file
from test_segments import differences, probe, rows

WHOLE = {"lora": None, "learning_rate": 1e-4}
KL = {"beta": 0.1}
DROP = {"lr_drop": {"signal": "mismatch", "rise": 1.0001, "factor": 0.5, "window_steps": 1}}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_sampler_computes_with_the_weights_of_the_trainer_rounded_once(dtype, tmp_path):
    output = tmp_path / "weights.safetensors"
    run_script(Path(__file__).with_name("whole_probe.py"), dtype, output)
    weights = load_file(output)
    sampler = {name.removeprefix("sampler."): w for name, w in weights.items() if name.startswith("sampler.")}
    trainer = {name.removeprefix("trainer."): w for name, w in weights.items() if name.startswith("trainer.")}
    stacked = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
    for name, weight in sampler.items():
        before, last = name.rpartition(".")[::2]
        parts = [f"{before}.{part}" if before else part for part in stacked.get(last, (last,))]
        if name == "lm_head":
            parts = ["model.embed_tokens"]  # tied
        expected = torch.cat([trainer[f"{part}.weight"] for part in parts])
        assert not torch.equal(expected.to(weight.dtype).float(), expected)
        torch.testing.assert_close(weight[: len(expected)], expected.to(getattr(torch, dtype)), rtol=0, atol=0)
    assert len(sampler) == 2 + 1 + 8 * 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return probe(tmp_path_factory.mktemp("whole"), 0, 0, 4, 4, json.dumps(WHOLE | DROP | KL))


def test_sampler_and_trainer_agree_after_updates_of_all_weights(whole):
    assert sum(row["grad_norm"] > 1e-3 for row in rows(whole)) == 3  # one prompt's completions are all alike
    assert max(differences(whole)) < 1e-5
    facts = json.loads((whole / "facts-4.json").read_text())["observed"]
    weights = load_file(whole / "checkpoint-4/model.safetensors")
    base = load_file(WORKFLOW.parent / "resources/tiny-arc/model.safetensors")
    assert facts["trainer_dtype"] == "float32" and facts["adapter_dtype"] is None and facts["adapter_layers"] == {}
    assert facts["trained_parameters"] == sum(weight.numel() for weight in weights.values())
    assert base.keys() == weights.keys() and {str(weight.dtype) for weight in weights.values()} == {"torch.float32"}
    assert not any(torch.equal(weights[name], base[name].float()) for name in base)
    assert sorted(path.name for path in (whole / "checkpoint-4").iterdir()) == [
        "config.json",
        "model.safetensors",
        "trainer_state.tar",
    ]


def test_weights_that_are_not_handed_over_show(tmp_path):
    measured = differences(probe(tmp_path, 0, 0, 4, 4, "no_sync", json.dumps(WHOLE)))
    assert measured[0] < 1e-5
    assert max(measured[1:]) > 1e-3


def test_two_segments_give_what_one_gives_with_a_kl_and_a_learning_rate_that_falls(whole, tmp_path):
    training = json.dumps(WHOLE | DROP | KL)
    probe(tmp_path, 0, 0, 2, 2, training)
    cut = probe(tmp_path, 0, 2, 4, 2, training)
    model = "checkpoint-4/model.safetensors"
    assert (cut / model).read_bytes() == (whole / model).read_bytes()
    assert rows(cut) == rows(whole)  # the KL too: in the second segment it is held against the base as well
    assert rows(cut)[0]["kl_base"] == pytest.approx(0, abs=1e-6) and min(row["kl_base"] for row in rows(cut)[1:]) > 1e-6
    spreads = [row["mismatch/seq_log_ratio_std"] for row in rows(whole)]
    n_records = [sum(spreads[i] > 1.0001 * max(spreads[:i]) for i in range(1, n)) for n in range(1, 5)]
    assert [row["learning_rate"] for row in rows(whole)] == [1e-4 * 0.5**n for n in [0, *n_records[:-1]]]
    assert n_records[1] > 0
