"""The audit's jobs with the real sampler, one process each, on an arm that samples with top_p 0.95 in float32.

In float32 only the truncation can make a difference, so any other difference is a fault of the audit.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import run_script
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from arc_precision.config.base import Section, as_words, lay_over
from arc_precision.config.experiment import ExperimentConfig, load_experiment
from arc_precision.contracts.audit_files import AUDIT
from arc_precision.contracts.parquet import read_rows, write_rows
from arc_precision.contracts.tasks import TASKS
from arc_precision.language.tokenizer import count_prompt_tokens, render_prompt
from arc_precision.tasks.generator import generate_task
from arc_precision.training.segment import lora_config

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "resources" / "tiny-arc"


def job(name: str, config: Section, *arguments: object) -> None:
    run_script(ROOT / "workflow" / "scripts" / f"{name}.py", "--slice", *as_words(config), *arguments)


def write_tasks(path: Path, n_rows: int) -> None:
    tasks = [generate_task(7, index).task for index in range(4 * n_rows)]
    short = [task for task in tasks if count_prompt_tokens(task, 0) <= 192][:n_rows]
    empty = dict.fromkeys(TASKS.names)
    rows = [empty | {"row_id": task.task_id, "prompt": render_prompt(task, 0)} for task in short]
    write_rows(path, TASKS, [rows])


def write_adapter(folder: Path, config: ExperimentConfig) -> None:
    """An adapter that changes log-probs by much more than rounding does."""
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    model = get_peft_model(base, lora_config(config.train_slice("float32")))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    model.save_pretrained(folder)


@dataclass(frozen=True)
class Audit:
    """A checkpoint's folder, in which completions are drawn."""

    folder: Path
    config: ExperimentConfig

    def score(self, name: str, slice: Section) -> Path:
        """Log-probs under one engine setting, named as its file."""
        output = self.folder / f"{name}.parquet"
        drawn = () if name == "draw" else ("--drawn", self.folder / "draw.parquet")
        adapter = [self.folder / "adapter" / file for file in ("adapter_model.safetensors", "adapter_config.json")]
        rows = self.folder / "rows.parquet"
        script = f"audit_{name.split('.')[0]}"
        job(script, slice, "--model", MODEL, "--rows", rows, *drawn, "--checkpoints", *adapter, "--outputs", output)
        return output

    def trainer(self, form: str) -> Path:
        return self.score(f"trainer.{form}", self.config.audit_trainer_slice("float32", form))

    def sampler(self, form: str, adapter: str) -> Path:
        slice = self.config.audit_sampler_slice("float32", form, adapter)
        return self.score(f"sampler.{form}.{adapter}", slice)


@pytest.fixture(scope="module")
def audit(tmp_path_factory) -> Audit:
    changes = {
        "run_arms": ["float32"],
        "arms": {"float32": {"sampling": {"top_p": 0.95}}},
        "audit": {"n_prompts": 12},
        "report": {"baseline_arm": "float32"},
    }
    config = load_experiment(lay_over(ExperimentConfig().model_dump(mode="json"), changes))
    audit = Audit(tmp_path_factory.mktemp("audit"), config)
    write_tasks(audit.folder / "rows.parquet", 12)
    write_adapter(audit.folder / "adapter", config)
    audit.score("draw", config.audit_draw_slice("float32"))
    return audit


@pytest.fixture(scope="module")
def chain(audit) -> dict:
    joined = audit.folder / "chain.json"
    files = [audit.folder / "draw.parquet", audit.trainer("float32"), audit.sampler("float32", "merged")]
    job("audit_join", audit.config.audit_join_slice("float32"), "--output", joined, "--", *files)
    return json.loads(joined.read_text())


def test_engines_adapters_and_batches_agree_in_float32(chain):
    causes = {row["cause"]: row for row in chain["causes"]}
    assert causes["total"]["token_count"] > 150 and causes["total"]["nonfinite_count"] == 0
    assert causes["trainer_rounding"]["mean_abs"] == causes["sampler_rounding"]["mean_abs"] == 0
    assert causes["engine"]["mean_abs"] < 2e-5
    rows = {row["name"]: row for row in chain["counterfactuals"]}
    assert rows["merged adapter"]["shift_abs_max"] < 1e-3
    assert rows["batch size 3"]["shift_abs_max"] < 1e-3
    assert chain["noise_floor"]["logp_diff_abs_mean"] < 2e-5


def test_top_p_shows_in_the_observed_d_and_in_the_counterfactuals(chain):
    causes = {row["cause"]: row for row in chain["causes"]}
    assert -0.0513 <= causes["decode"]["mean"] < -1e-3
    assert causes["decode"]["share"] > 0.99
    assert causes["total"]["mean"] == pytest.approx(causes["decode"]["mean"], abs=2e-5)
    row = next(row for row in chain["counterfactuals"] if row["name"] == "top_p 0.95")
    assert row["in_effect"]
    assert row["shift_mean"] == pytest.approx(causes["total"]["mean"], abs=1e-4)
    assert 0.03 < row["shift_abs_max"] <= 0.0513


def logprobs(path: Path) -> np.ndarray:
    """The log-probs of the completions' tokens, in one row."""
    rows = [row for row in read_rows(path, AUDIT) if row["variant"] == ""]
    return np.concatenate([row["logprobs"] for row in sorted(rows, key=lambda row: (row["row_id"], row["sample"]))])


def test_bfloat16_disagrees_five_to_ten_times_as_much_as_float16(audit):
    means = {}
    for dtype in ("float16", "bfloat16"):
        d = logprobs(audit.trainer(dtype)) - logprobs(audit.sampler(dtype, "applied"))
        means[dtype] = np.abs(d).mean()
    assert means["float16"] > 1e-5
    assert 5 < means["bfloat16"] / means["float16"] < 10


def test_without_the_rounding_of_both_heads_bfloat16_disagrees_less(audit):
    def scored(form: str) -> tuple[np.ndarray, np.ndarray]:
        return logprobs(audit.trainer(form)), logprobs(audit.sampler(form, "applied"))

    rounded, exact = scored("bfloat16"), scored("bfloat16-float32-head")
    for side in (0, 1):
        assert np.abs(rounded[side] - exact[side]).mean() > 1e-4
    assert np.abs(exact[0] - exact[1]).mean() < np.abs(rounded[0] - rounded[1]).mean()
    assert np.abs(exact[0] - rounded[1]).mean() > np.abs(exact[0] - exact[1]).mean()
