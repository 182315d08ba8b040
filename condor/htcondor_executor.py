"""Additions of this pipeline to snakemake-executor-plugin-htcondor 0.3.0.

`profile.yaml` imports this module, which replaces the plugin's own `Executor`. It overrides private methods of the
plugin, so it accepts exactly that version. A later plugin may have some of these additions itself:

* Requests follow from Snakemake's standard resources (`mem_mb`, `disk_mb`, `runtime`, `gpu`); the plugin ignores them.
  A dry run prints them.
* `htcondor_submit_X` sets submit command X to the value as written; the plugin puts strings in quotes, which few
  commands accept.
* Arguments with blanks or quotes reach the job as they are (`--config "key={a: 1}"`); the plugin drops quotes.
* A failed job's report ends with HTCondor's reason and the file that holds the job's messages.
* HTCondor's signal to end reaches the rule (`job.sh`).
* A failed submission is tried once more when the schedd answers again, and then fails that job alone; the plugin ends
  the run and removes all its jobs.
* A job that was held too long leaves the queue when it is reported; a release would start it beside its successor.
* A job that was started more than `max_starts` times, or exceeded its memory or its `runtime`, fails at once.
* A job that no machine of the pool could ever run is reported with the conditions that exclude them, and fails after
  `unmatched_limit_s`. A job that only waits for a busy machine waits as long as it must.
* Jobs that a killed controller left behind are removed first, so that no two jobs write the same file; for the same
  reason one working directory stays with one schedd.
* An interrupt removes every job of this working directory, also those whose status is just being looked up.
"""

import itertools
import os
import re
import shlex
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

try:
    import classad2
    import htcondor2
    import snakemake_executor_plugin_htcondor as plugin
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed; run: pip install --no-deps -r envs/requirements-htcondor.txt"
    ) from None
from snakemake.executors import dryrun
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

PLUGIN_VERSION = "0.3.0"
JOB_SCRIPT = Path(__file__).resolve().parent / "job.sh"

# In each job's ad: the directory whose files it writes, and the one attempt to submit it.
WORKDIR = "SnakemakeWorkdir"
SUBMISSION = "SnakemakeSubmission"

# HoldReasonCodes that a release cannot mend: periodic_hold, memory, allowed_job_duration, allowed_execute_duration
FINAL_HOLDS = {3, 34, 46, 47}

# How long a schedd may stay silent; its restart takes seconds to minutes.
SCHEDD_LIMIT_S = 600
# How long a removed job may take to end. A machine grants it ten minutes by default, a lost machine the job's lease.
REMOVAL_LIMIT_S = 1200

GPU_CONSTRAINTS = ("require_gpus", "gpus_minimum_capability", "gpus_minimum_memory", "gpus_minimum_runtime")

SUBMISSION_ERRORS = (WorkflowError, htcondor2.HTCondorException)


class Executor(plugin.Executor):
    def __post_init__(self) -> None:
        super().__post_init__()
        self._workdir = classad2.quote(os.getcwd())
        self._mine = f"{WORKDIR} == {self._workdir}"
        self._submission = ""
        # by cluster:
        self._reasons: dict[int, str] = {}  # why HTCondor last held or removed it
        self._given_up: dict[int, str] = {}  # why this class removed it
        self._final_holds: set[int] = set()
        self._unmatched_since: dict[int, float] = {}  # time.monotonic() of the first check that found no machine for it
        self._next_look = 0.0
        self._stay_with_one_schedd()
        self._remove(self._mine, "left behind by an earlier Snakemake of this directory")

    def _stay_with_one_schedd(self) -> None:
        """Refuse another schedd: jobs that an earlier Snakemake left in its queue would be overlooked."""
        locate = htcondor2.Collector().locate
        here = self._ask_schedd(lambda _: locate(htcondor2.DaemonType.Schedd)["Name"])
        note = Path(self.jobDir, "schedd")
        if note.exists() and (before := note.read_text()) != here:
            raise WorkflowError(
                f"The jobs of this directory were submitted to {before}, but the schedd of this machine is {here}. Run "
                f"Snakemake where it ran before or, when condor_q shows none of its jobs there, delete {note}."
            )
        note.write_text(here)

    # Submission

    def run_job(self, job: JobExecutorInterface) -> None:
        try:
            try:
                self._submit(job)
            except SUBMISSION_ERRORS as error:
                self.logger.warning(f"{job.name} (job {job.jobid}) is submitted again; it failed with: {error}")
                self._submit(job)
        except SUBMISSION_ERRORS as error:
            self.report_job_error(SubmittedJobInfo(job), msg=f"It could not be submitted: {error} ")

    def _submit(self, job: JobExecutorInterface) -> None:
        self._submission = classad2.quote(str(uuid.uuid4()))
        try:
            super().run_job(job)
        except SUBMISSION_ERRORS:
            # The schedd may have accepted the job although its answer was lost.
            self._remove(f"{SUBMISSION} == {self._submission}", "its submission failed half-way")
            raise

    def _handle_explicit_unit_resources(self, job: JobExecutorInterface, submit: dict[str, Any]) -> None:
        """The plugin's one hook that sees both the job and its submit description, before GPU keys are added."""
        super()._handle_explicit_unit_resources(job, submit)
        resources = job.resources
        submit.update(requests(job))
        submit[f"My.{WORKDIR}"] = self._workdir
        submit[f"My.{SUBMISSION}"] = self._submission
        too_often = f"NumShadowStarts > {resources.max_starts}"
        too_long = "false"
        if runtime_min := resources.get("runtime"):
            # Not allowed_execute_duration: HTCondor 23.9 overlooks it in a job that starts in the second of its match.
            too_long = f"(JobStatus == 2 && time() - JobCurrentStartDate > {runtime_min * 60 * job.attempt})"
        submit["periodic_hold"] = f"{too_often} || {too_long}"
        submit["periodic_hold_reason"] = (
            f'ifThenElse({too_often}, strcat("started ", NumShadowStarts, " times without finishing"), '
            '"ran longer than the runtime of its rule")'
        )
        for key, value in resources.items():
            if key.startswith("htcondor_submit_"):
                submit[key.removeprefix("htcondor_submit_").replace("__", ".")] = value

    def _get_base_exec_and_args(self, job: JobExecutorInterface) -> tuple[str, str]:
        executable, command_line = super()._get_base_exec_and_args(job)
        return str(JOB_SCRIPT), submit_arguments([executable, *shlex.split(command_line)])

    def _sanitize_job_args(self, job_args: str) -> str:
        return job_args

    @property
    def cores(self) -> str:
        """The Snakemake inside a job counts the cores of the machine it is on, not the controller's."""
        return "all"

    # Watching

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        if not active_jobs:  # the thread that calls this starts before __post_init__
            return
        try:
            self._look_for_unmatched(active_jobs)
        except htcondor2.HTCondorException as error:
            self.logger.warning(f"The pool does not say what its machines are: {error}")
        async for job in super().check_active_jobs(active_jobs):
            yield job

    def _drain_unified_log(self) -> None:
        super()._drain_unified_log()
        for cluster, events in self._event_logs.items():
            for event in events:
                if event.type == htcondor2.JobEventType.JOB_HELD:
                    self._reasons[cluster] = event["HoldReason"]
                    if event["HoldReasonCode"] in FINAL_HOLDS:
                        self._final_holds.add(cluster)
                elif event.type == htcondor2.JobEventType.JOB_RELEASED:
                    self._reasons.pop(cluster, None)
                    self._final_holds.discard(cluster)
                elif event.type == htcondor2.JobEventType.JOB_ABORTED and "Reason" in event:
                    self._reasons[cluster] = event["Reason"]

    def _report_and_resolve_job_state(
        self, current_job: SubmittedJobInfo, job_state: plugin.JobState
    ) -> SubmittedJobInfo | None:
        cluster = current_job.external_jobid
        if job_state.status == plugin.JobStatus.HELD and cluster in self._final_holds:
            self.report_job_error(current_job, msg=f"HTCondor held cluster {cluster}; releasing it would not help.")
            self._cleanup_job_tracking(cluster)
            return None
        return super()._report_and_resolve_job_state(current_job, job_state)

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: Any) -> None:
        cluster, job = job_info.external_jobid, job_info.job
        if cluster is not None:
            state = self._job_current_states.get(cluster)
            if state is not None and state.status == plugin.JobStatus.HELD:
                self._remove(f"ClusterId == {cluster}", "Snakemake has given it up")
            if reason := self._given_up.get(cluster, self._reasons.get(cluster)):
                msg = f"{msg} Reason: {reason}."
            if cluster in self._given_up:
                job.attempt = job.restart_times + 1  # no retry, which would ask for even more
            msg = f"{msg} Its messages: {self.jobDir}/{job.name}/{job.name}-{job.jobid}_{cluster}.err . "
        super().report_job_error(job_info, msg=msg, **kwargs)

    def _look_for_unmatched(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Warns of idle jobs that no machine could run even if all were free; removes them after unmatched_limit_s."""
        limits_s = {info.external_jobid: info.job.resources.unmatched_limit_s for info in active_jobs}
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + min(limits_s.values()) / 10
        jobs = htcondor2.Schedd().query(constraint=f"{self._mine} && JobStatus == 1")
        idle = [job for job in jobs if job["ClusterId"] in limits_s]
        slots = htcondor2.Collector().query(htcondor2.AdType.Startd, 'SlotType =!= "Dynamic"') if idle else []
        machines = [as_if_free(slot) for slot in slots]
        unmatched = {job["ClusterId"]: job for job in idle if not any(fits(job, machine) for machine in machines)}
        self._unmatched_since = {cluster: self._unmatched_since.get(cluster, now) for cluster in unmatched}
        for cluster, since in self._unmatched_since.items():
            limit_s = limits_s[cluster]
            why = f"none of the pool's {len(machines)} machines fits: {explain(unmatched[cluster], machines)}"
            if now - since >= limit_s:
                self._given_up[cluster] = f"for {limit_s} s {why}"
                htcondor2.Schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")
            elif since == now:
                self.logger.warning(f"Cluster {cluster} cannot run, {why}. It fails in {limit_s} s if that stays so.")

    # Removal

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        # The list lacks the jobs whose status is just being looked up. The plugin then closes its event log.
        super().cancel_jobs([])
        try:
            htcondor2.Schedd().act(htcondor2.JobAction.Remove, self._mine)
        except htcondor2.HTCondorException as error:
            self.logger.error(f"The jobs are still in the queue ({error}): condor_rm -constraint '{self._mine}'")

    def _remove(self, constraint: str, reason: str) -> None:
        """Removes the jobs that meet the constraint and waits until they have ended and left the queue.

        Raises WorkflowError if the schedd stays silent for SCHEDD_LIMIT_S or a job does not end in REMOVAL_LIMIT_S.
        """

        def remaining(schedd: htcondor2.Schedd) -> list[str]:
            return [ad["JobBatchName"] for ad in schedd.query(constraint=constraint, projection=["JobBatchName"])]

        deadline = time.monotonic() + REMOVAL_LIMIT_S
        jobs = self._ask_schedd(remaining)
        if jobs:
            self.logger.warning(f"Removing {', '.join(jobs)} from the queue and waiting for the end: {reason}.")
            self._ask_schedd(lambda schedd: schedd.act(htcondor2.JobAction.Remove, constraint))
        while jobs:
            if time.monotonic() > deadline:
                raise WorkflowError(
                    f"{', '.join(jobs)} did not end within {REMOVAL_LIMIT_S} s of being removed and may still write "
                    f"files here. If it is certain that they do not run: condor_rm -forcex -constraint '{constraint}'"
                )
            time.sleep(1)
            jobs = self._ask_schedd(remaining)

    def _ask_schedd(self, question: Callable[[htcondor2.Schedd], Any]) -> Any:
        for seconds in itertools.count(step=5):
            try:
                return question(htcondor2.Schedd())
            except htcondor2.HTCondorException as error:
                if seconds >= SCHEDD_LIMIT_S:
                    raise WorkflowError(f"The schedd has not answered for {SCHEDD_LIMIT_S} s: {error}") from error
                if seconds == 0:
                    self.logger.warning(f"The schedd does not answer; asking again for {SCHEDD_LIMIT_S} s: {error}")
                time.sleep(5)


class DryRun(dryrun.Executor):
    """Prints the requests of each job as HTCondor's submit commands."""

    def printjob(self, job: JobExecutorInterface) -> None:
        super().printjob(job)
        if not (job.rule.norun or job.name in self.workflow._localrules):  # to a dry run itself, every job is local
            self.logger.info(f"    {job.name} requests: " + ", ".join(f"{k}={v}" for k, v in requests(job).items()))


def requests(job: JobExecutorInterface) -> dict[str, Any]:
    """The requests of a job as submit commands: those that its rule or the profile states in HTCondor's words, or else
    those that follow from Snakemake's resources."""
    resources = job.resources
    threads = job.rule.resources["_cores"]
    submit = {
        # job.threads is cut to the cores of the controller's own machine.
        "request_cpus": job.threads if threads.is_evaluable() else threads.value,
        "request_memory": resources.get("request_memory", f"{resources.mem_mib * job.attempt}MB"),
        "request_disk": resources.get("request_disk", f"{resources.disk_mib}MB"),
    }
    requirements = [resources.get("requirements")]
    if gpus := resources.get("request_gpus", resources.get("gpu")):
        submit["request_gpus"] = gpus
        submit |= {key: resources[key] for key in GPU_CONSTRAINTS if key in resources.keys()}
        requirements.append(resources.get("gpu_requirements"))
    if any(requirements):
        submit["requirements"] = " && ".join(f"({requirement})" for requirement in requirements if requirement)
    return submit


def submit_arguments(arguments: list[str]) -> str:
    """HTCondor's "new syntax": each argument in single quotes, all in double quotes, a quote within written twice."""
    line = " ".join("'" + argument.replace("'", "''") + "'" for argument in arguments)
    return '"' + line.replace('"', '""') + '"'


def as_if_free(machine: classad2.ClassAd) -> classad2.ClassAd:
    """The ad of a slot with the resources it has when nothing runs in it."""
    for resource in ("Cpus", "Memory", "Disk", "GPUs"):
        if f"TotalSlot{resource}" in machine:
            machine[resource] = machine[f"TotalSlot{resource}"]
    gpus = [name for name in machine if name.startswith("GPUs_") and isinstance(machine[name], classad2.ClassAd)]
    machine["AvailableGPUs"] = classad2.ExprTree(f"{{{', '.join(gpus)}}}")
    return machine


def conditions(job: classad2.ClassAd) -> list[classad2.ExprTree]:
    """The conditions that a machine must meet to run the job. HTCondor has added the requests to the profile's own."""
    return [classad2.ExprTree(text) for text in conjuncts(str(job.lookup("Requirements")))]


def fits(job: classad2.ClassAd, machine: classad2.ClassAd) -> bool:
    return all(condition.eval(scope=job, target=machine) is True for condition in conditions(job))


def explain(job: classad2.ClassAd, machines: list[classad2.ClassAd]) -> str:
    """The conditions that some machines do not meet, with the number that do: `TARGET.Memory >= RequestMemory (3 do),
    ...`."""
    met = {str(c): sum(c.eval(scope=job, target=machine) is True for machine in machines) for c in conditions(job)}
    return ", ".join(f"{condition} ({count} do)" for condition, count in met.items() if count < len(machines))


def conjuncts(expression: str) -> Iterator[str]:
    """The operands of the outermost `&&` of a ClassAd expression, those in parentheses taken apart likewise."""
    tokens = re.findall(r'"(?:\\.|[^"\\])*"|&&|\|\||=\?=|.', expression, re.DOTALL)
    depths = list(itertools.accumulate((token in "([{") - (token in ")]}") for token in tokens))
    outermost = {token for token, depth in zip(tokens, depths, strict=True) if depth == 0}
    if "&&" in outermost and not {"||", "?"} & outermost:
        operand = ""
        for token, depth in zip([*tokens, "&&"], [*depths, 0], strict=True):
            if token == "&&" and depth == 0:
                yield from conjuncts(operand.strip())
                operand = ""
            else:
                operand += token
    elif tokens[0] == "(" and depths.index(0) == len(tokens) - 1:
        yield from conjuncts(expression[1:-1].strip())
    else:
        yield expression


if version("snakemake-executor-plugin-htcondor") != PLUGIN_VERSION:
    raise WorkflowError(f"{__file__} is for snakemake-executor-plugin-htcondor {PLUGIN_VERSION}: install that version.")
ExecutorPluginRegistry().plugins["htcondor"].executor = Executor
ExecutorPluginRegistry().plugins["dryrun"].executor = DryRun
