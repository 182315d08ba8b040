"""Additions of this pipeline to snakemake-executor-plugin-slurm 2.8.0.

`profile.yaml` imports this module, which replaces the plugin's own `Executor`. It accepts exactly that version of the
plugin. A later plugin may have some of these additions itself:

* A retry asks for `attempt` times the memory and the runtime of its rule.
* A job asks for the threads that its rule declares, also if the controller's machine has fewer cores.
* A job is one Snakemake in Slurm's batch step. The plugin starts a second one there, through an srun that finds no
  cluster which the variable SLURM_CONF names.
* `seconds-between-status-checks` is kept; the plugin waits ten seconds longer after every check at which nothing has
  finished.
* Jobs that a killed controller left behind are removed first, so that no two jobs write the same file.
* An interrupt removes every job of this working directory, also those whose status is just being looked up.
* Where a cluster keeps no accounts, jobs are watched through squeue; the plugin takes sacct wherever it is installed.
"""

import os
import subprocess
import time
from importlib.metadata import version

try:
    import snakemake_executor_plugin_slurm as plugin
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed; run: pip install --no-deps -r envs/requirements-slurm.txt"
    ) from None
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

PLUGIN_VERSION = "2.8.0"

# How long a removed job may take to end. Slurm kills it after KillWait, 30 s by default.
REMOVAL_LIMIT_S = 600


def status_command() -> str:
    """`sacct` where the cluster keeps accounts of its jobs, else `squeue`."""
    try:
        accounts = subprocess.run(["sacct", "--noheader", "--allocations"], capture_output=True).returncode == 0
    except FileNotFoundError:
        accounts = False
    return "sacct" if accounts else "squeue"


class Executor(plugin.Executor):
    def __post_init__(self, test_mode: bool = False) -> None:
        super().__post_init__(test_mode)
        self._workdir = os.path.abspath(self.workflow.workdir_init)
        self._remove_leftovers()

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        # This is not done in run_job, which runs in a thread of the plugin that hides errors.
        for job in jobs:
            resources = job.resources
            # job.threads is cut to the cores of the controller's own machine.
            if not job.is_group() and not (threads := job.rule.resources["_cores"]).is_evaluable():
                resources.cpus_per_task = resources.get("cpus_per_task", threads.value)
            for request in ("mem_mb", "runtime"):
                if value := resources.get(request):
                    setattr(resources, request, value * job.attempt)
        super().run_jobs(jobs)

    def additional_general_args(self) -> str:
        return ""

    @property
    def cores(self) -> str:
        """The Snakemake inside a job counts the cores of the machine it is on, not the controller's."""
        return "all"

    @property
    def next_seconds_between_status_checks(self) -> int:
        return self.workflow.remote_execution_settings.seconds_between_status_checks

    @next_seconds_between_status_checks.setter
    def next_seconds_between_status_checks(self, value: int) -> None:
        """Ignores the plugin's own choice."""

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        # The list lacks the jobs whose status is just being looked up.
        if jobs := self._jobs_here():
            self._ask("scancel", *jobs)

    def _remove_leftovers(self) -> None:
        """Removes the jobs of an earlier controller and waits for their end.

        Raises WorkflowError if Slurm does not answer or a job does not end in REMOVAL_LIMIT_S.
        """
        deadline = time.monotonic() + REMOVAL_LIMIT_S
        jobs = self._jobs_here()
        if jobs:
            self.logger.warning(
                f"Removing {', '.join(jobs.values())} from the queue and waiting for the end: "
                "left behind by an earlier Snakemake of this directory."
            )
            self._ask("scancel", *jobs)
        while jobs:
            if time.monotonic() > deadline:
                raise WorkflowError(
                    f"Slurm's jobs {', '.join(jobs)} did not end within {REMOVAL_LIMIT_S} s of being removed and may "
                    "still write files here. Start again when squeue no longer shows them."
                )
            time.sleep(1)
            jobs = self._jobs_here()

    def _jobs_here(self) -> dict[str, str]:
        """Slurm's id of each job that this directory has in the queue, with the comment that names its rule."""
        lines = self._ask("squeue", "--me", "--noheader", "--format=%i|%k|%Z").splitlines()
        fields = [line.split("|", 2) for line in lines]
        return {number: comment for number, comment, folder in fields if self._is_ours(comment, folder)}

    def _is_ours(self, comment: str, folder: str) -> bool:
        # The controller itself may be a job of this directory.
        return folder == self._workdir and comment.startswith(("rule_", "group_"))

    def _ask(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise WorkflowError(f"{command[0]} failed: {done.stderr.strip()}")
        return done.stdout


if version("snakemake-executor-plugin-slurm") != PLUGIN_VERSION:
    raise WorkflowError(f"{__file__} is for snakemake-executor-plugin-slurm {PLUGIN_VERSION}: install that version.")
ExecutorPluginRegistry().plugins["slurm"].executor = Executor
