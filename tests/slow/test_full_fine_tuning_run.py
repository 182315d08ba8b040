"""Full fine-tuning through every rule, beside an arm that trains an adapter: train, evaluation, audit, report."""

import json
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "end_to_end"))
from test_smoke import ROOT, snakemake  # noqa: E402

WHOLE = {
    "experiment": "whole",
    "run_arms": ["whole", "adapter"],
    "training": {"learning_rate": 1e-5},
    "arms": {
        "whole": {"trainer_dtype": "float32", "sampler_dtype": "float32", "training": {"lora": None}},
        "adapter": {"trainer_dtype": "float32", "sampler_dtype": "float32"},
    },
    "report": {"baseline_arm": "adapter"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    for name in ("Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "whole.yaml").write_text(yaml.safe_dump(WHOLE))
    run(folder)
    return folder


def run(folder: Path, *arguments: str) -> str:
    return snakemake(folder, "whole.yaml", *arguments)  # a second --configfile, over the smoke experiment's


def test_a_checkpoint_has_the_model_or_the_adapter(folder):
    files = {
        arm: sorted(path.name for path in (folder / f"results/whole/runs/{arm}/seed-0/checkpoint-4").iterdir())
        for arm in ("whole", "adapter")
    }
    assert files == {
        "whole": ["config.json", "model.safetensors", "trainer_state.tar"],
        "adapter": ["adapter_config.json", "adapter_model.safetensors", "trainer_state.tar"],
    }


def test_in_float32_nothing_is_left_of_the_mismatch_in_training_and_audit(folder):
    results = folder / "results/whole"
    for stop in (2, 4):
        for line in (results / f"runs/whole/seed-0/steps-{stop}.jsonl").read_text().splitlines():
            row = json.loads(line)
            assert row["mismatch/logp_diff_abs_mean"] < 1e-5 and row["lora_b_median_abs"] is None
    chain = json.loads((results / "audit/whole/seed-0/step-4/chain.json").read_text())
    assert chain["merged"] is None and chain["metrics"]["logp_diff_abs_mean"] < 1e-5
    assert "merged adapter" not in {row["name"] for row in chain["counterfactuals"]}


def test_the_report_compares_the_two(folder):
    report = json.loads((folder / "results/whole/report/report.json").read_text())
    arms = {arm["name"]: arm for arm in report["arms"]}
    assert set(arms) == {"whole", "adapter"}
    assert all(arm["trainer_observed"] == arm["sampler_observed"] == "float32" for arm in arms.values())
    assert all(arm["score"] is not None for arm in arms.values())
    assert any(difference["key"].startswith("training.lora") for difference in report["differences"])


def test_a_second_call_has_nothing_to_do_also_where_only_the_last_model_is_kept(folder):
    assert "Nothing to be done" in run(folder)
    run(folder, "--config", "retention={weights: last}", "max_steps=6")
    models = sorted(path.parent.name for path in (folder / "results/whole/runs/whole").rglob("model.safetensors"))
    assert models == ["checkpoint-6"]
    assert "Nothing to be done" in run(folder, "--config", "max_steps=6")
