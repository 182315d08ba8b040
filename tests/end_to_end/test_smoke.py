"""The whole pipeline on the smallest experiment: real TRL, PEFT and vLLM, both dtypes, to the report."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPERIMENT = ("--configfile", "experiments/smoke.yaml")


def snakemake(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = ["snakemake", "--cores", "2", *EXPERIMENT, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Everything but audits, which a test adds."""
    folder = tmp_path_factory.mktemp("smoke")
    for name in ("Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    snakemake(folder, "--config", "audit={every: 1000}")
    return folder


def test_the_report_compares_what_was_observed(folder):
    report = json.loads((folder / "results/smoke/report/report.json").read_text())
    runs = {run["arm"]: run for run in report["runs"]}
    assert set(runs) == {"float16", "bfloat16"}
    facts = {arm: json.loads((folder / f"results/smoke/runs/{arm}/seed-0/facts-4.json").read_text()) for arm in runs}
    for arm in runs:
        assert facts[arm]["observed"]["trainer_dtype"] == facts[arm]["observed"]["sampler_dtype"] == arm
        assert facts[arm]["observed"]["autocast_dtype"] == arm
        assert facts[arm]["observed"]["adapter_dtype"] == "float32"
        assert facts[arm]["observed"]["loss_scaler"] == (arm == "float16")
    assert (folder / "results/smoke/report/report.html").stat().st_size > 10_000


def test_both_arms_see_the_same_prompts_and_the_mismatch_is_measured(folder):
    rows = {
        arm: [
            json.loads(line)
            for stop in (2, 4)
            for line in (folder / f"results/smoke/runs/{arm}/seed-0/steps-{stop}.jsonl").read_text().splitlines()
        ]
        for arm in ("float16", "bfloat16")
    }
    for arm in rows:
        assert [row["step"] for row in rows[arm]] == [1, 2, 3, 4]
        assert all(row["mismatch/logp_diff_abs_mean"] > 0 for row in rows[arm])
    means = {arm: sum(row["mismatch/logp_diff_abs_mean"] for row in rows[arm]) for arm in rows}
    assert means["bfloat16"] > 2 * means["float16"]
    assert rows["float16"][0]["loss_scale"] is not None and rows["bfloat16"][0]["loss_scale"] is None


def test_audits_are_added_to_what_is_there(folder):
    runs = folder / "results/smoke/runs"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("adapter_model.safetensors")}
    snakemake(folder)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("adapter_model.safetensors")} == before
    for arm in ("float16", "bfloat16"):
        chain = json.loads((folder / f"results/smoke/audit/{arm}/seed-0/step-4/chain.json").read_text())
        causes = {row["cause"]: row["mean"] for row in chain["causes"]}
        total = causes.pop("total")
        assert sum(causes.values()) == pytest.approx(total, abs=1e-12)


def test_a_second_call_has_nothing_to_do(folder):
    assert "Nothing to be done" in snakemake(folder)


def test_more_steps_train_one_more_segment(folder):
    plan = snakemake(folder, "-n", "--config", "max_steps=6")
    counts = dict(line.split() for line in plan.splitlines() if line.startswith("train "))
    assert counts == {"train": "2"}
