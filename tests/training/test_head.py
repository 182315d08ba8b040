"""The LM head in the model's dtype and in float32, in trainer and vLLM, against logits computed by hand."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from forks import run_script
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "resources" / "tiny-arc"


@dataclass(frozen=True)
class Run:
    """The files of the probe."""

    drawn: dict
    inputs: dict
    step: dict
    facts: dict


@pytest.fixture(scope="module", params=["model", "float32"])
def head(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    found = {}
    for head in ("model", "float32"):
        folder = tmp_path_factory.mktemp(head)
        run_script(Path(__file__).with_name("head_probe.py"), folder, head)
        found[head] = Run(
            torch.load(folder / "drawn.pt"),
            torch.load(folder / "loss.pt"),
            json.loads((folder / "steps-1.jsonl").read_text()),
            json.loads((folder / "facts-1.json").read_text()),
        )
    return found


def test_the_samplers_logprobs_are_those_of_its_heads_product_with_an_adapter_in_use(runs, head):
    drawn = runs[head].drawn
    assert len(drawn["tokens"]) == len(drawn["seen"]) > 4
    rounded = []
    for token, logprob, (hidden, weight, logits) in zip(*map(drawn.get, ("tokens", "logprobs", "seen")), strict=True):
        assert hidden.dtype == weight.dtype == torch.bfloat16
        by_hand = (hidden.double() @ weight.double().T)[:, : logits.shape[-1]]
        half_a_unit = 2.0**-8 if head == "model" else 1e-6
        torch.testing.assert_close(logits.double(), by_hand, rtol=half_a_unit, atol=1e-4)
        assert logits.dtype == (torch.bfloat16 if head == "model" else torch.float32)
        assert logprob == pytest.approx(logits.double().log_softmax(-1)[0, token].item(), abs=1e-5)
        exact, coarse = (values.log_softmax(-1)[0, token].item() for values in (by_hand, by_hand.bfloat16().double()))
        rounded.append(abs(coarse - exact))
        if head == "float32":
            assert logprob == pytest.approx(exact, abs=1e-5)
    assert max(rounded) > 1e-3  # so that the two can be told apart


def trainers_logps(inputs: dict, head: str) -> torch.Tensor:
    """Log-probs (B, T): hidden states in bfloat16, and the head by hand. The adapter is 0 in the first step."""
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16).eval()
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state
    logits = hidden.double() @ model.lm_head.weight.double().T
    if head == "model":
        logits = logits.bfloat16().double()
    n = inputs["completion_ids"].shape[1]
    return logits[:, -n - 1 : -1].log_softmax(-1).gather(-1, inputs["completion_ids"][..., None])[..., 0]


def mean_abs(inputs: dict, head: str) -> float:
    d = (trainers_logps(inputs, head) - inputs["sampling_per_token_logps"])[inputs["completion_mask"].bool()]
    return d.abs().mean().item()


def test_the_runs_mismatch_is_that_of_the_heads_it_was_asked_for(runs, head):
    run, other = runs[head], "float32" if head == "model" else "model"
    reported = run.step["mismatch/logp_diff_abs_mean"]
    assert reported == pytest.approx(mean_abs(run.inputs, head), rel=0.01)
    assert reported != pytest.approx(mean_abs(run.inputs, other), rel=0.05)


def test_float32_heads_on_both_sides_do_not_make_the_mismatch_larger(runs):
    assert runs["float32"].step["mismatch/logp_diff_abs_mean"] < runs["model"].step["mismatch/logp_diff_abs_mean"]


def test_a_float32_head_on_one_side_alone_makes_it_larger_than_on_both(runs):
    both = mean_abs(runs["float32"].inputs, "float32")
    assert mean_abs(runs["float32"].inputs, "model") > 1.2 * both  # the sampler's alone
    assert mean_abs(runs["model"].inputs, "float32") > 1.2 * both  # the trainer's alone


def test_facts_tell_what_is_in_effect(runs, head):
    observed = runs[head].facts["observed"]
    assert observed["sampler_head_dtype"] == ("float32" if head == "float32" else "bfloat16")
    assert observed["sampler_dtype"] == observed["trainer_dtype"] == observed["sampler_matrix_dtype"] == "bfloat16"
    assert observed["sampler_kv_cache_dtype"] == "auto" and observed["sampler_batch_invariant"] is False
    assert observed["deterministic"] is True
