"""Models of other architectures, two layers of random weights, go through every rule: minutes each on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit"))
from tiny_models import make_model  # noqa: E402

DEFAULT = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Model type, and settings laid over the smoke experiment's.
ARCHITECTURES = {
    "phi3": {"training": {"lora": {"target_modules": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}}},
    "gemma": {},
    "qwen3": {},
    "mistral": {},
    "gemma2": {"run_arms": ["bfloat16"], "report": {"baseline_arm": "bfloat16"}, "training": {"shared_prompt": False}},
    "gemma3_text": {"run_arms": ["bfloat16"], "report": {"baseline_arm": "bfloat16"}},
}


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_rule(model_type, tmp_path):
    for name in ("Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    changes = ARCHITECTURES[model_type]
    overlay = {"model": {"path": str(make_model(tmp_path / "model", model_type))}}
    (tmp_path / "overlay.yaml").write_text(json.dumps(overlay | changes))
    command = ["snakemake", "--cores", "1", "--configfile", "experiments/smoke.yaml", "overlay.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    results = tmp_path / "results" / "smoke"
    assert (results / "report" / "report.html").exists()
    targets = changes.get("training", {}).get("lora", {}).get("target_modules", DEFAULT)
    facts = [json.loads(path.read_text()) for path in results.glob("runs/*/*/facts-*.json")]
    assert facts and all(fact["observed"]["adapter_layers"] == dict.fromkeys(sorted(targets), 2) for fact in facts)
