"""Tests of the profile without a pool."""

import os
import re
import subprocess
import sys
from pathlib import Path

import classad2
import pytest
import yaml
from working_folder import LIMIT_S, REPOSITORY, real_pipeline, toy_pipeline, wait_until

sys.path.insert(0, str(REPOSITORY / "condor"))
from htcondor_executor import as_if_free, conjuncts, explain, fits  # noqa: E402

GPU_RULES = {"train_set", "train", "sample", "audit_draw", "audit_trainer", "audit_sampler"}
CPU_RULES = {
    "train_candidates",
    "evaluation_set",
    "model_manifest",
    "score",
    "audit_join",
    "report_data",
    "report_page",
}


def requests(project: Path, *arguments: str) -> dict[str, list[dict[str, str]]]:
    """The requests of each rule's jobs, as a dry run with the profile prints them."""
    command = [sys.executable, "-m", "snakemake", "-n", "--profile", "condor", *arguments]
    dry_run = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert dry_run.returncode == 0, dry_run.stdout + dry_run.stderr
    found = {}
    for rule, commands in re.findall(
        r"^    ([\w-]+)\S* requests: (.*)$", dry_run.stdout + dry_run.stderr, re.MULTILINE
    ):
        found.setdefault(rule, []).append(dict(pair.split("=", 1) for pair in commands.split(", ")))
    return found


def test_a_dry_run_prints_what_each_rule_requests(tmp_path: Path):
    gpu = {"request_cpus": "1", "request_memory": "573MB", "request_disk": "96MB", "request_gpus": "1"}
    gpu |= {"gpus_minimum_memory": "15000", "gpus_minimum_capability": "7.0"}
    cpu = {"request_cpus": "1", "request_memory": "287MB", "request_disk": "48MB"}
    assert requests(toy_pipeline(tmp_path / "toy"), "out/report_page", "out/pretrain") == {
        "train_candidates": [cpu],
        "evaluation_set": [cpu],
        "model_manifest": [cpu],
        "train_set": [gpu],
        "pretrain": [gpu],
        "train": [gpu, gpu],
        "sample": [gpu, gpu],
        "score": [cpu | {"request_cpus": "2"}] * 2,
        "audit_draw": [gpu, gpu],
        "audit_join": [cpu],
    }  # report_data and report_page run where Snakemake runs


def test_only_gpu_rules_of_the_pipeline_request_gpus(tmp_path: Path):
    """The GPU environment is configured; planning needs no package of it."""
    smoke = ("--configfile", "experiments/smoke.yaml", "--config", "device=cuda", "evaluation={common_dtype: float16}")
    found = requests(real_pipeline(tmp_path / "real"), *smoke)
    gpu_rules = {rule for rule, jobs in found.items() for job in jobs if "request_gpus" in job}
    cpu_rules = {rule for rule, jobs in found.items() for job in jobs if "request_gpus" not in job}
    assert (gpu_rules, cpu_rules) == (GPU_RULES, CPU_RULES)


def test_no_setting_is_in_two_profiles():
    profiles = [
        yaml.safe_load((REPOSITORY / path).read_text())
        for path in ("condor/profile.yaml", "profiles/default/profile.yaml")
    ]
    assert not set.intersection(*map(set, profiles))


JOB_SCRIPT = str(REPOSITORY / "condor" / "job.sh")


def test_the_job_script_passes_on_the_exit_status():
    assert subprocess.run([JOB_SCRIPT, "/bin/sh", "-c", "exit 3"]).returncode == 3


def test_the_job_script_passes_the_signal_to_every_process_of_its_command(tmp_path: Path):
    note = f"trap 'echo $1 >> {tmp_path}/notes; exit 0' TERM; echo >> {tmp_path}/ready; while :; do sleep 0.1; done"
    (tmp_path / "step").write_text(note)
    command = f"trap : TERM; sh {tmp_path}/step first & sh {tmp_path}/step second & wait; wait"
    job = subprocess.Popen([JOB_SCRIPT, "/bin/sh", "-c", command])
    wait_until(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text() == "\n\n", "both run")
    job.terminate()
    job.wait(LIMIT_S)
    assert sorted((tmp_path / "notes").read_text().split()) == ["first", "second"]


def test_the_job_script_uses_the_python_of_a_container(tmp_path: Path):
    (tmp_path / "python3").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "python3").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    job = subprocess.run([JOB_SCRIPT, "/not/here/python", "-m", "snakemake"], env=environment, capture_output=True)
    assert job.stdout == b"-m snakemake\n"


@pytest.mark.parametrize(
    ("expression", "operands"),
    [
        ("TARGET.HasDocker", ["TARGET.HasDocker"]),
        ("(a) && (b >= 2)", ["a", "b >= 2"]),
        ('((a) && (b == "x && (y")) && c =?= true', ["a", 'b == "x && (y"', "c =?= true"]),
        ("(a || b) && (c)", ["a || b", "c"]),
        ("a && b || c", ["a && b || c"]),
        ("a ? b && c : d", ["a ? b && c : d"]),
        ("f(a && b) && g", ["f(a && b)", "g"]),
    ],
)
def test_conjuncts_of_an_expression(expression, operands):
    assert list(conjuncts(expression)) == operands


def machine(name: str, **attributes: object) -> classad2.ClassAd:
    return classad2.ClassAd(
        {"Machine": name, "TotalSlotMemory": 8192, "Memory": 128, "TotalSlotGPUs": 1, "GPUs": 0, **attributes}
    )


def test_a_busy_machine_fits_and_the_conditions_that_exclude_are_named():
    job = classad2.ClassAd({"RequestMemory": 4096, "RequestGPUs": 1})
    job["RequireGPUs"] = classad2.ExprTree("Capability >= 7.5")
    job["Requirements"] = classad2.ExprTree(
        "(TARGET.Memory >= RequestMemory) && (countMatches(MY.RequireGPUs, TARGET.AvailableGPUs) >= RequestGPUs)"
    )
    old = as_if_free(machine("old", GPUs_GPU_1=classad2.ClassAd({"Capability": 7.0})))
    new = as_if_free(machine("new", GPUs_GPU_1=classad2.ClassAd({"Capability": 8.0})))
    small = as_if_free(machine("small", TotalSlotMemory=1024, GPUs_GPU_1=classad2.ClassAd({"Capability": 8.0})))
    assert [fits(job, each) for each in (old, new, small)] == [False, True, False]
    assert explain(job, [old, small]) == (
        "TARGET.Memory >= RequestMemory (1 do), countMatches(MY.RequireGPUs,TARGET.AvailableGPUs) >= RequestGPUs (1 do)"
    )
