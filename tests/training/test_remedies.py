"""Each remedy's loss against its formula, in float64, on completions whose sampler log-probs are made up."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PrinterCallback

from arc_precision.config.base import lay_over
from arc_precision.config.experiment import ConfigError, ExperimentConfig, load_experiment
from arc_precision.sampling.engines import Completion
from arc_precision.training.scoring import Scored
from arc_precision.training.segment import lora_config
from arc_precision.training.trainer import PrecisionTrainer, grpo_config

TOKENIZER = AutoTokenizer.from_pretrained("resources/tiny-arc")
N_COMPLETIONS, LONGEST = 16, 12


class MadeUpSampler:
    """Draws random tokens and reports log-probs that lie around those of a uniform distribution."""

    dtype = torch.float32

    def generate(self, prompts, seeds):
        random = np.random.default_rng(seeds)
        drawn = []
        for _ in prompts:
            tokens = [
                *random.integers(10, len(TOKENIZER), random.integers(2, LONGEST)).tolist(),
                TOKENIZER.eos_token_id,
            ]
            logprobs = -math.log(len(TOKENIZER)) + random.normal(random.normal(0, 0.5), 0.5, len(tokens))
            drawn.append(Completion(tokens, logprobs.tolist(), False))
        return drawn

    def load_adapter(self, folder):
        pass


def experiment(**training):
    changes = {
        "training": {
            "segment_steps": 2,
            "per_device_train_batch_size": N_COMPLETIONS,
            "learning_rate": 0.05,
            "max_grad_norm": 1e9,
            "lora": {"r": 4, "alpha": 8},
            **training,
        },
        "sampling": {"max_completion_tokens": LONGEST},
        "max_steps": 2,
        "evaluation": {"every": 2},
        "audit": {"every": 2},
    }
    return load_experiment(lay_over(ExperimentConfig().model_dump(mode="json"), changes))


def passes_of(tmp_path, **training) -> list[SimpleNamespace]:
    """For each pass of two steps: log-probs of trainer and sampler, mask (B, T), advantages (B, 1), and the loss."""
    slice = experiment(**training).train_slice("float32")
    torch.manual_seed(0)
    shape = dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    special = {f"{name}_token_id": getattr(TOKENIZER, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(TOKENIZER), max_position_embeddings=64, **shape, **special))
    random = np.random.default_rng(3)

    def score(row_ids, texts):
        rewards = random.choice([0.0, 1.0, 5.5, 10.0], len(texts)).tolist()
        return lambda: [Scored(reward, "ok") for reward in rewards]

    trainer = PrecisionTrainer(
        slice,
        0,
        MadeUpSampler(),
        score,
        model=model,
        args=grpo_config(slice, 0, 2, str(tmp_path)),
        train_dataset=Dataset.from_dict(
            {"prompt": [f"<bos>{i:03}" for i in range(64)], "row_id": list(map(str, range(64)))}
        ),
        processing_class=TOKENIZER,
        peft_config=lora_config(slice),
    )
    trainer.remove_callback(PrinterCallback)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.3)
    passes, compute_loss = [], trainer._compute_loss

    def keep(model, inputs):
        logps = {}
        inner = trainer._get_per_token_logps_and_entropies

        def look(*args, **kwargs):
            result = inner(*args, **kwargs)
            logps["policy"] = result[0].detach().double()
            return result

        trainer._get_per_token_logps_and_entropies = look
        loss = compute_loss(model, inputs)
        trainer._get_per_token_logps_and_entropies = inner
        policy = logps["policy"]
        passes.append(
            SimpleNamespace(
                policy=policy,
                old=inputs["old_per_token_logps"].double() if "old_per_token_logps" in inputs else policy,
                sampler=inputs["sampling_per_token_logps"].double(),
                mask=inputs["completion_mask"].double(),
                advantages=inputs["advantages"].double()[:, None],
                loss=loss.item(),
            )
        )
        return loss

    trainer._compute_loss = keep
    trainer.train()
    trainer.handover.close()
    return passes


def mean_over_tokens(values, mask):
    return ((values * mask).sum() / mask.sum()).item()


def token_ratio(p):
    return (p.old - p.sampler).exp()


def mean_log_ratio(p):
    return ((p.old - p.sampler) * p.mask).sum(1, keepdim=True) / p.mask.sum(1, keepdim=True)


def inside(values, lowest, highest):
    return ((values >= lowest) & (values <= highest)).double()


WEIGHTS = {
    "icepop": (
        {"correction": "token_mask", "correction_min": 0.7, "correction_max": 1.4},
        lambda p: token_ratio(p) * inside(token_ratio(p), 0.7, 1.4),
    ),
    "limited on both sides": (
        {"correction": "token_truncate", "correction_min": 0.7, "correction_max": 1.4},
        lambda p: token_ratio(p).clamp(0.7, 1.4),
    ),
    "geometric mask": (
        {"correction": "sequence_geometric_mask", "correction_min": 0.8, "correction_max": 1.25},
        lambda p: inside(mean_log_ratio(p).exp(), 0.8, 1.25).expand_as(p.mask),
    ),
    "geometric mask, upper bound alone": (
        {"correction": "sequence_geometric_mask", "correction_min": None, "correction_max": 1.1},
        lambda p: inside(mean_log_ratio(p).exp(), 0, 1.1).expand_as(p.mask),
    ),
    "off-policy mask": (
        {"off_policy_mask_threshold": 0.2},
        lambda p: ((p.advantages >= 0) | (-mean_log_ratio(p) <= 0.2)).double().expand_as(p.mask),
    ),
}


@pytest.mark.parametrize(("training", "weight"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_a_remedy_weighs_tokens_by_its_formula(training, weight, tmp_path):
    for p in passes_of(tmp_path, **training):
        weights = weight(p)
        assert 0 < mean_over_tokens((weights == 0).double(), p.mask) < 1 or weights.unique().numel() > 2
        assert p.loss == pytest.approx(mean_over_tokens(-weights * p.advantages, p.mask), abs=1e-5)
        assert p.loss != pytest.approx(mean_over_tokens(-p.advantages.expand_as(p.mask), p.mask), abs=1e-3)


def test_delta_limits_the_ratio_where_the_advantage_is_negative(tmp_path):
    first, second = passes_of(tmp_path, delta=1.3, num_iterations=2)
    ratio = (second.policy - second.old).exp()
    surrogate = torch.min(ratio.clamp(max=1.3) * second.advantages, ratio.clamp(0.8, 1.2) * second.advantages)
    assert ((ratio > 1.3) & (second.advantages < 0) & (second.mask > 0)).any()
    assert second.loss == pytest.approx(mean_over_tokens(-surrogate, second.mask), abs=1e-5)


def test_adamw_has_the_betas_and_the_epsilon_that_were_asked_for(tmp_path):
    args = grpo_config(
        experiment(adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-15).train_slice("float32"), 0, 2, str(tmp_path)
    )
    assert (args.adam_beta1, args.adam_beta2, args.adam_epsilon) == (0.8, 0.95, 1e-15)


def test_a_lower_limit_above_the_upper_is_refused():
    with pytest.raises(ConfigError, match="correction_min 3.0 is not below correction_max 3.0; write a smaller one"):
        experiment(correction_min=3.0)
