"""Faults of clusters, caused on purpose.

One rule of the toy pipeline, `pretrain`, stands for a long GPU job.
"""

import signal

from cluster import GPUS, Cluster, Project
from working_folder import LIMIT_S, TARGET, wait_until

GPU_RULES = {"train_set", "train", "sample", "audit_draw", "pretrain"}


def states(cluster: Cluster, project: Project) -> list[str]:
    """The final or present state of each of the project's jobs, in order of submission."""
    return [job["JobState"] for job in cluster.jobs(project.folder)]


def test_jobs_request_what_their_rules_say(cluster: Cluster, project: Project):
    assert project.run("out/score_float16", "out/pretrain", "--config", 'label=two "quoted" words') == 0
    assert (project.folder / "out/train_float16.label").read_text() == 'two "quoted" words\n'
    jobs = cluster.jobs(project.folder)
    assert len(jobs) == 8
    for job in jobs:
        rule = job["Comment"].removeprefix("rule_").split("_wildcards_")[0]
        on_gpu = rule in GPU_RULES
        assert job["JobState"] == "COMPLETED"
        assert job.get("TresPerJob") == ("gres:gpu:1" if on_gpu else None)
        assert job["MinMemoryNode"] == ("600M" if on_gpu else "300M")
        assert job["TimeLimit"] == ("00:30:00" if on_gpu else "00:10:00")
        assert job["CPUs/Task"] == ("2" if rule == "score" else "1")
    # Slurm shows a job its own GPU, and hides all GPUs from a job without one.
    assert "\nCUDA_VISIBLE_DEVICES=0\n" in (project.folder / "out/pretrain").read_text()
    assert "CUDA_VISIBLE_DEVICES" not in (project.folder / "out/score_float16").read_text()


def test_a_killed_job_is_run_again(cluster: Cluster, project: Project):
    controller = project.start_blocked()
    (job,) = cluster.jobs(project.folder)
    cluster.command("scancel", job["JobId"])
    wait_until(lambda: project.events("pretrain").count("start") == 2, "pretrain runs again")
    project.unblock("pretrain")
    assert controller.wait(LIMIT_S) == 0
    assert project.events("pretrain") == ["start", "signalled", "start", "end"]
    assert states(cluster, project) == ["CANCELLED", "COMPLETED"]
    assert f"SLURM-job '{job['JobId']}' failed, SLURM status is: 'CANCELLED'" in project.log


def test_jobs_of_a_full_queue_wait_and_then_run(cluster: Cluster, project: Project):
    occupy = ["sbatch", "--parsable", "--gpus=1", "--mem=100", "--output=/dev/null", "--wrap=sleep 600"]
    occupiers = [cluster.command(*occupy).strip() for _ in range(GPUS)]
    controller = project.start(TARGET, "out/evaluation_set")
    wait_until(lambda: project.events("evaluation_set") == ["start", "end"], "a job without a GPU runs meanwhile")
    wait_until(lambda: "Finished jobid" in project.log, "the controller has looked at its jobs")
    assert "PENDING" in cluster.queue(project.folder) and controller.poll() is None
    cluster.command("scancel", *occupiers)
    assert controller.wait(LIMIT_S) == 0
    assert project.events("pretrain") == ["start", "end"]


def test_a_job_that_exceeds_its_time_limit_is_run_again_with_more_time(cluster: Cluster, project: Project):
    controller = project.start_blocked()
    (job,) = cluster.jobs(project.folder)
    cluster.command("scontrol", "update", f"JobId={job['JobId']}", "EndTime=now")
    wait_until(lambda: project.events("pretrain").count("start") == 2, "pretrain runs again")
    project.unblock("pretrain")
    assert controller.wait(LIMIT_S) == 0
    assert states(cluster, project) == ["TIMEOUT", "COMPLETED"]
    assert project.events("pretrain") == ["start", "signalled", "start", "end"]
    assert "SLURM status is: 'TIMEOUT'" in project.log
    first, second = (job["TimeLimit"] for job in cluster.jobs(project.folder))
    assert first < "00:30:00" and second == "01:00:00"


def test_a_failed_job_is_tried_again_with_more_memory_and_names_its_messages(cluster: Cluster, project: Project):
    (project.folder / "broken").mkdir()
    (project.folder / "broken" / "pretrain").touch()
    assert project.run(TARGET, "--retries", "1") == 1
    assert [job["MinMemoryNode"] for job in cluster.jobs(project.folder)] == ["600M", "1200M"]
    assert states(cluster, project) == ["FAILED", "FAILED"]
    for job in cluster.jobs(project.folder):
        messages = project.folder / ".snakemake" / "slurm_logs" / "rule_pretrain" / f"{job['JobId']}.log"
        assert str(messages) in project.log and "exit" in messages.read_text()


def test_a_job_that_no_machine_could_run_fails_alone(cluster: Cluster, project: Project):
    too_much = ("--set-resources", "train_candidates:mem_mb=1000000")
    controller = project.start_blocked("out/train_candidates", "--retries", "0", *too_much)
    wait_until(lambda: "Requested node configuration is not available" in project.log, "Slurm has refused the job")
    project.unblock("pretrain")
    assert controller.wait(LIMIT_S) == 1
    assert (project.folder / TARGET).exists()
    assert project.events("pretrain") == ["start", "end"]


def test_interrupt_removes_the_jobs(cluster: Cluster, project: Project):
    controller = project.start_blocked()
    controller.send_signal(signal.SIGINT)
    assert controller.wait(LIMIT_S) == 1
    wait_until(lambda: not cluster.queue(project.folder), "the job has left the queue")
    assert project.events("pretrain") == ["start", "signalled"]
    project.unblock("pretrain")
    assert project.run(TARGET) == 0


def test_after_a_killed_controller_no_two_jobs_write_the_same_file(cluster: Cluster, project: Project):
    killed = project.start_blocked()
    killed.kill()
    killed.wait()
    assert cluster.queue(project.folder) == ["RUNNING"], "the job runs on without its controller"
    other = cluster.command(
        "sbatch", "--parsable", "--mem=100", "--output=/dev/null", "--wrap=sleep 600", cwd=project.folder
    )
    assert project.run("--unlock") == 0
    controller = project.start(TARGET)
    wait_until(lambda: project.events("pretrain").count("start") == 2, "the second controller's job runs")
    project.unblock("pretrain")
    assert controller.wait(LIMIT_S) == 0
    assert project.events("pretrain") == ["start", "signalled", "start", "end"]
    assert "Removing rule_pretrain from the queue" in project.log
    assert cluster.queue(project.folder) == ["RUNNING"], "a job of this folder that is not Snakemake's stays"
    cluster.command("scancel", other.strip())
