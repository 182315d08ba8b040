"""The warm start's rules, training and trials included, on the embedded model."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = """\
experiment: warm
sampling: {engine: transformers}
warm_start:
  source: {kind: generated, n_tasks: 60, seed: 5}
  max_prompt_tokens: 400
  max_completion_tokens: 90
  batch_tokens: 1500
  steps: 4
  warmup_steps: 1
  learning_rate: 1.0e-2
  held_out_tasks: 4
  log_every: 1
  trial: {source: {kind: generated, n_tasks: 8, seed: 8}, n_samples: 2}
"""


def test_a_warmed_up_model_has_a_card_of_both_trials(tmp_path):
    (tmp_path / "warm.yaml").write_text(CONFIG)
    command = [
        "snakemake",
        "--cores",
        "1",
        "warm_start",
        "--configfile",
        "warm.yaml",
        "--snakefile",
        ROOT / "Snakefile",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    results = tmp_path / "results/warm"
    before, after = (
        json.loads((results / f"warm-start-trials/{when}.json").read_text()) for when in ("before", "after")
    )
    assert before["tasks"] == after["tasks"] and before != after
    card = (results / "warm-start/README.md").read_text()
    assert "# tiny-arc, warmed up" in card
    for trial in (before, after):
        assert f"{trial['solved_share']:.3f} ({trial['solved_share_standard_error']:.3f})" in card
    assert (results / "warm-start.svg").read_text().count(" L") == 3
    assert not (results / "warm-start.checkpoints").exists()
