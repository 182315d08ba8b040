"""A small experiment in both dtypes through the pool: the real rules, their programs and their environment."""

import subprocess

from pool import MACHINES, Project
from working_folder import check_small_experiment

GPU_RULES = {"train_set", "train", "sample"}


def rule_of(job) -> str:
    """The kind of rule in `RULE-JOBID`; rules of several seeds have the arm and the seeds after their kind."""
    return job["JobBatchName"].rpartition("-")[0].partition(".")[0]


def test_a_small_experiment_runs_on_the_pool(small_experiment: tuple[Project, subprocess.Popen]):
    project, controller = small_experiment
    status = controller.wait(1200)
    print(project.log)
    assert status == 0
    jobs = project.pool.history(project.jobs_here)
    assert set(map(rule_of, jobs)) >= GPU_RULES | {"evaluation_set", "score"}
    for job in jobs:
        rule = rule_of(job)
        assert job.get("RequestGPUs", 0) == (1 if rule in GPU_RULES else 0)
        assert job["LastRemoteHost"].rpartition("@")[2] in MACHINES
        assert (job["ExitCode"], job["NumJobStarts"]) == (0, 1)
    check_small_experiment(project)
