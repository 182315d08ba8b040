"""The whole pipeline on the smallest experiment: real TRL, PEFT and vLLM, both dtypes, to the report."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from arc_precision.tasks.generator import generate_task

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


def test_submissions_are_made_with_and_without_answers(folder):
    """The answered set scores what the report says; Kaggle's challenges without solutions come with all their tasks."""
    tasks = [generate_task(5, number).task for number in range(3)]
    challenges = {
        task.task_id: {
            "train": [{"input": pair.input.tolist(), "output": pair.output.tolist()} for pair in task.train],
            "test": [{"input": pair.input.tolist()} for pair in task.test],
        }
        for task in tasks
    }
    (folder / "x_challenges.json").write_text(json.dumps(challenges))
    kaggle = (
        "sources={kaggle: {kind: arc_json, path: x_challenges.json}}",
        "evaluation_sets={kaggle: {source: kaggle, held_out: true, n_tasks: 2}}",
    )
    made = [
        f"results/smoke/submissions/float16/seed-0/step-4/{name}.float32/submission.json"
        for name in ("generated-held-out", "kaggle")
    ]
    snakemake(folder, "--config", "audit={every: 1000}", *kaggle, "--", *made)
    answered, unanswered = (json.loads((folder / path).read_text()) for path in made)
    assert {name: len(entries) for name, entries in unanswered.items()} == {t.task_id: len(t.test) for t in tasks}
    assert all(entry.keys() == {"attempt_1", "attempt_2"} for entries in unanswered.values() for entry in entries)

    rows = pq.read_table(folder / "results/smoke/data/generated-held-out.parquet", columns=["task_id", "test"])
    right = [
        np.mean([pair["output"] in answer.values() for pair, answer in zip(row["test"], answers, strict=True)])
        for row in rows.to_pylist()
        for answers in [answered[row["task_id"]]]
    ]
    report = json.loads((folder / "results/smoke/report/report.json").read_text())
    (score,) = (row for row in report["evaluation"]["rows"] if (row["arm"], row["step"]) == ("float16", 4))
    assert score["metrics"]["two_attempts"]["value"] == pytest.approx(np.mean(right), abs=1e-5)
    assert score["seconds_per_task"] > 0 and score["metrics"]["tokens_per_task"]["value"] > 0


def test_snakemakes_own_report_has_the_page_and_the_tables_with_captions(folder):
    snakemake(folder, "--report", "report.zip", "--config", "audit={every: 1000}")
    with zipfile.ZipFile(folder / "report.zip") as report:
        index = report.read(min(report.namelist(), key=lambda name: (name.count("/"), "html" not in name))).decode()
    for caption in ("Comparison of float16, bfloat16 over 2 seed", "Numbers of the comparison as a table"):
        assert f'"caption": "<p>{caption}' in index


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
    counts = dict(line.split() for line in plan.splitlines() if line.startswith("train."))
    assert counts == {"train.float16.0-1": "1", "train.bfloat16.0-1": "1"}
