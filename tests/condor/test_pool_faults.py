"""Faults of pools, caused on purpose.

One rule of the toy pipeline, `pretrain`, stands for a long GPU job.
"""

import signal
import time

import pytest
from pool import Pool, Project
from working_folder import LIMIT_S, TARGET, wait_until


def test_eviction_reaches_the_rule_at_once_and_the_job_starts_again(pool: Pool, project: Project):
    controller = project.start_blocked()
    pool.command("condor_vacate_job", "-constraint", project.jobs_here)
    # long before the machine would kill the job
    wait_until(lambda: "signalled" in project.events("pretrain"), "the rule gets the signal")
    wait_until(lambda: project.events("pretrain").count("start") == 2, "pretrain runs again")
    project.unblock("pretrain")
    assert controller.wait(LIMIT_S) == 0
    assert project.events("pretrain") == ["start", "signalled", "start", "end"]


def test_a_held_job_is_reported_with_its_reason_and_leaves_the_queue(pool: Pool, project: Project):
    controller = project.start_blocked("--retries", "0", "--htcondor-held-timeout", "3")
    pool.command("condor_hold", "-reason", "the disk is full", "-constraint", project.jobs_here)
    assert controller.wait(LIMIT_S) == 1
    assert "Reason: the disk is full" in project.log
    assert pool.queue(project.jobs_here) == []


@pytest.mark.slow
def test_a_released_job_goes_on(pool: Pool, project: Project):
    controller = project.start_blocked("--retries", "0")
    pool.command("condor_hold", "-constraint", project.jobs_here)
    wait_until(lambda: "is held" in project.log, "the hold is reported")
    project.unblock("pretrain")
    pool.command("condor_release", "-constraint", project.jobs_here)
    assert controller.wait(LIMIT_S) == 0


def test_unmatched_requirements_are_reported_with_their_reason_and_a_limit(pool: Pool, project: Project):
    requirements = 'pretrain:requirements=(TARGET.HasDocker) && (TARGET.Machine == "gpu3.example.com")'
    assert project.run(TARGET, "--set-resources", requirements, "pretrain:unmatched_limit_s=5") == 1
    reason = 'none of the pool\'s 2 machines fits: TARGET.Machine == "gpu3.example.com" (0 do)'
    assert f"cannot run, {reason}. It fails in 5 s" in project.log
    assert f"for 5 s {reason}" in project.log.split("Error in rule pretrain")[1]
    assert pool.queue(project.jobs_here) == []
    assert len(pool.history(project.jobs_here)) == 1, "a retry would not match either"


def test_a_failed_job_is_tried_again_with_more_memory_and_names_its_messages(pool: Pool, project: Project):
    (project.folder / "broken").mkdir()
    (project.folder / "broken" / "pretrain").touch()
    assert project.run(TARGET, "--retries", "1") == 1
    first, second = pool.history(project.jobs_here)
    assert (first["RequestMemory"], second["RequestMemory"]) == (573, 2 * 573)  # MiB; the rule asks for 600 MB
    messages = project.folder / project.log.split("Its messages: ")[1].split()[0]
    assert "exit code 3" in messages.read_text() or "non-zero exit" in messages.read_text()


def test_interrupt_removes_the_jobs(pool: Pool, project: Project):
    controller = project.start_blocked()
    controller.send_signal(signal.SIGINT)
    assert controller.wait(LIMIT_S) == 1
    wait_until(lambda: not pool.queue(project.jobs_here), "the job has left the queue")
    assert project.events("pretrain") == ["start", "signalled"]
    project.unblock("pretrain")
    assert project.run(TARGET, "--rerun-incomplete") == 0


@pytest.mark.slow
def test_an_interrupt_while_the_schedd_is_asked_removes_the_jobs(pool: Pool, project: Project):
    controller = project.start_blocked("--set-resources", "pretrain:unmatched_limit_s=1")
    schedd = pool.schedd()
    schedd.suspend()
    time.sleep(2)  # the controller now waits for the schedd's answer about its job
    controller.send_signal(signal.SIGINT)
    wait_until(lambda: "Terminating processes on user request" in project.log, "the interrupt is noticed")
    schedd.resume()
    assert controller.wait(LIMIT_S) == 1
    wait_until(lambda: not pool.queue(project.jobs_here), "the job has left the queue")


def test_after_a_killed_controller_no_two_jobs_write_the_same_file(pool: Pool, project: Project):
    killed = project.start_blocked()
    killed.kill()
    killed.wait()
    assert [job["JobStatus"] for job in pool.queue(project.jobs_here)] == [2], "the job runs on without its controller"
    assert project.run("--unlock") == 0
    # the old job goes on writing for longer than a new one takes to start
    (project.folder / "slow").mkdir()
    (project.folder / "slow" / "pretrain").touch()
    controller = project.start(TARGET, "--rerun-incomplete")
    wait_until(lambda: project.events("pretrain").count("start") == 2, "the second controller's job runs")
    project.unblock("pretrain")
    assert controller.wait(LIMIT_S) == 0
    assert project.events("pretrain") == ["start", "signalled", "start", "end"]
    assert "left behind by an earlier Snakemake" in project.log


def test_a_directory_stays_with_the_schedd_that_may_still_run_its_jobs(pool: Pool, project: Project):
    jobs = project.folder / ".snakemake" / "htcondor"
    jobs.mkdir(parents=True)
    (jobs / "schedd").write_text("other.example.com")
    assert project.run(TARGET) == 1
    assert "were submitted to other.example.com" in project.log
    assert pool.history(project.jobs_here) == []


def test_a_failed_submission_leaves_other_jobs_alone(project: Project):
    broken = "train_candidates:requirements=((("
    controller = project.start_blocked("out/train_candidates", "--retries", "0", "--set-resources", broken)
    wait_until(lambda: "could not be submitted" in project.log, "the submission has failed")
    project.unblock("pretrain")
    assert controller.wait(LIMIT_S) == 1
    assert project.events("pretrain") == ["start", "end"]
    assert (project.folder / TARGET).exists()


@pytest.mark.slow
def test_a_job_that_waits_for_a_busy_machine_is_left_waiting(pool: Pool, project: Project):
    occupy = project.folder / "occupy.sub"
    occupy.write_text("executable = /bin/sleep\narguments = 600\nrequest_gpus = 1\nrequest_memory = 100\nqueue 2\n")
    cluster = pool.command("condor_submit", "-terse", str(occupy)).split(".")[0]
    occupiers = f"ClusterId == {cluster}"
    wait_until(lambda: all(job["JobStatus"] == 2 for job in pool.queue(occupiers)), "both GPUs are busy")
    controller = project.start(TARGET, "--set-resources", "pretrain:unmatched_limit_s=2")
    waiting = f"{project.jobs_here} && JobStatus == 1 && time() - QDate > 12"
    wait_until(lambda: pool.queue(waiting), "the job has waited for several times the limit")
    pool.command("condor_rm", "-constraint", occupiers)
    assert controller.wait(LIMIT_S) == 0
    assert "cannot run" not in project.log


@pytest.mark.slow
def test_a_job_that_exceeds_its_runtime_fails_without_waiting_for_a_release(pool: Pool, project: Project):
    project.block("pretrain")
    assert project.run(TARGET, "--retries", "0", "--set-resources", "pretrain:runtime=1") == 1  # minutes
    assert "Reason: ran longer than the runtime of its rule" in project.log
    assert pool.queue(project.jobs_here) == []


@pytest.mark.slow
def test_a_job_that_restarts_for_ever_is_stopped(pool: Pool, project: Project):
    controller = project.start_blocked("--retries", "0", "--set-resources", "pretrain:max_starts=2")
    pool.command("condor_vacate_job", "-constraint", project.jobs_here)
    wait_until(lambda: project.events("pretrain").count("start") == 2, "pretrain runs again")
    pool.command("condor_vacate_job", "-constraint", project.jobs_here)
    assert controller.wait(LIMIT_S) == 1
    assert "started 3 times without finishing" in project.log
    assert pool.queue(project.jobs_here) == []


@pytest.mark.slow
def test_a_restart_of_the_schedd_costs_nothing(pool: Pool, project: Project):
    project.block("train_candidates")
    controller = project.start("out/train_set")
    wait_until(lambda: project.events("train_candidates") == ["start"], "train_candidates runs")
    old = pool.schedd()
    old.kill()
    wait_until(lambda: pool.schedd() not in (None, old), "the master has started another schedd")
    project.unblock("train_candidates")
    assert controller.wait(LIMIT_S) == 0  # `train_set` was submitted to the new schedd
    assert project.events("train_candidates") == ["start", "end"]


@pytest.mark.slow
def test_a_submission_waits_for_the_schedd(pool: Pool, project: Project):
    project.block("train_candidates")
    controller = project.start("out/train_set", "--retries", "0")
    wait_until(lambda: project.events("train_candidates") == ["start"], "train_candidates runs")
    controller.send_signal(signal.SIGSTOP)
    project.unblock("train_candidates")
    wait_until(lambda: not pool.queue(project.jobs_here), "what `train_set` needs is there")
    with pool.without_schedd():
        controller.send_signal(signal.SIGCONT)
        wait_until(lambda: "The schedd does not answer" in project.log, "the submission has failed")
    assert controller.wait(LIMIT_S) == 0


@pytest.mark.slow
def test_a_lost_machine_is_noticed_and_its_job_runs_elsewhere(pool: Pool, project: Project):
    controller = project.start_blocked("--set-resources", "pretrain:htcondor_submit_job_lease_duration=20")
    (job,) = pool.queue(project.jobs_here)
    machine = job["RemoteHost"].rpartition("@")[2]
    # a machine that is lost before it reports its claim goes on offering its GPU until the collector forgets it
    offers = ["condor_status", "-af", "GPUs", "-constraint", f'Machine == "{machine}" && SlotType == "Partitionable"']
    wait_until(lambda: pool.command(*offers).strip() == "0", "the collector knows that the GPU is taken")
    with pool.lost(machine):
        project.unblock("pretrain")
        assert controller.wait(LIMIT_S) == 0
    assert project.events("pretrain") == ["start", "start", "end"]


@pytest.mark.slow
def test_the_controller_as_a_job_outlives_its_shell_and_takes_its_jobs_along(pool: Pool, project: Project):
    (project.folder / ".snakemake").mkdir()
    project.block("pretrain")
    submit = ["condor_submit", "-terse", "condor/controller.sub", f"options={TARGET} --seconds-between-status-checks 1"]
    cluster = pool.command(*submit, cwd=project.folder).split(".")[0]
    wait_until(lambda: project.events("pretrain") == ["start"], "pretrain runs")
    pool.command("condor_rm", cluster)
    wait_until(lambda: not pool.queue(f"ClusterId == {cluster} || {project.jobs_here}"), "controller and job are gone")
    assert project.events("pretrain") == ["start", "signalled"]
    project.unblock("pretrain")
    pool.command(*submit[:-1], submit[-1] + " --rerun-incomplete", cwd=project.folder)
    wait_until((project.folder / TARGET).exists, "a second controller has finished the work")
    wait_until(lambda: not pool.queue(), "the second controller has ended")
