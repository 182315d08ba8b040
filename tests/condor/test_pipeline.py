"""A small experiment in both dtypes through the pool: the real rules, their programs and their environment."""

import json
from pathlib import Path

from pool import MACHINES, Pool, Project, real_pipeline

GPU_RULES = {"train_set", "train", "sample"}


def test_a_small_experiment_runs_on_the_pool(pool: Pool, tmp_path: Path):
    project = Project(pool, real_pipeline(tmp_path / "project"))
    # The experiment computes on CPUs; its GPU rules ask for the pool's simulated GPUs all the same.
    gpus = [f"{rule}:gpu=1" for rule in sorted(GPU_RULES)]
    # One segment for each arm; audits, which more than double the time, ask for a GPU as sampling does (test_profile.py).
    smaller = ("max_steps=2", "evaluation={every: 2}", "audit={every: 1000}")
    status = project.run(
        "--configfile", "experiments/smoke.yaml", "--config", *smaller, "--set-resources", *gpus, limit_s=1200
    )
    print(project.log)
    assert status == 0
    jobs = pool.history(project.jobs_here)
    for job in jobs:
        rule = job["JobBatchName"].rpartition("-")[0]
        assert job.get("RequestGPUs", 0) == (1 if rule in GPU_RULES else 0)
        assert job["LastRemoteHost"].rpartition("@")[2] in MACHINES
        assert (job["ExitCode"], job["NumJobStarts"]) == (0, 1)
    report = json.loads((project.folder / "results/smoke/report/report.json").read_text())
    assert (project.folder / "results/smoke/report/report.html").exists()
    trained = {facts.parents[1].name for facts in project.folder.glob("results/smoke/runs/*/*/facts-*.json")}
    assert trained == {"float16", "bfloat16"} and report
