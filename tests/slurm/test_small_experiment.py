"""A small experiment in both dtypes through Slurm: the real rules, their programs and their environment."""

import re
import subprocess
from collections import Counter

from cluster import Project
from working_folder import check_small_experiment

GPU_RULES = {"train_set", "train", "sample"}


def test_a_small_experiment_runs_on_the_cluster(small_experiment: tuple[Project, subprocess.Popen]):
    project, controller = small_experiment
    status = controller.wait(1200)
    print(project.log)
    assert status == 0
    ended = project.cluster.ended(project.folder)
    assert {job["JobState"] for job in ended} == {"COMPLETED"}
    on_gpus = [job for job in project.cluster.jobs(project.folder) if job.get("TresPerJob") == "gres:gpu:1"]
    # Rules of several seeds have the arm and the seeds after their kind.
    started = Counter(re.findall(r"submitted with SLURM jobid \d+ \(log: \S*/slurm_logs/rule_(\w+)", project.log))
    assert {*GPU_RULES, "evaluation_set", "score"} <= started.keys()
    assert len(on_gpus) == sum(started[rule] for rule in GPU_RULES)
    check_small_experiment(project)
