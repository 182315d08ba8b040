"""A real HTCondor pool on one machine, for tests: started, asked, and stopped without root's rights."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from working_folder import LIMIT_S, REPOSITORY, WorkingFolder, client_environment, heed_interrupts, wait_until

HERE = Path(__file__).resolve().parent
CACHE = REPOSITORY / ".cache" / "condor"
MACHINES = {"gpu1.example.com", "gpu2.example.com"}

# Daemons of real root would change the machine's kernel settings, and no schedd takes root's jobs: root becomes nobody.
UNPRIVILEGED = ("unshare", "--user", "--map-user=65534", "--map-group=65534") if os.getuid() == 0 else ()


class Pool:
    """Two machines, `gpu1.example.com` and `gpu2.example.com`, with 2 CPUs, 64 GB and one simulated GPU each.

    `environment` lets a client find the pool; every client's command starts with `UNPRIVILEGED`.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        root = CACHE / "root"
        if not root.exists():
            tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
            subprocess.run([HERE / "fetch_condor.sh", CACHE], check=True, env=tools)
        for name in ("log", "spool", "lock", "run", "execute", "execute2", "credentials", "home"):
            (folder / name).mkdir(parents=True)
        config = folder / "condor_config"
        text = (HERE / "pool.conf").read_text().replace("@ROOT@", str(root)).replace("@POOL@", str(folder))
        config.write_text(text.replace("@DOCKER@", str(HERE / "docker")))
        path = f"{Path(sys.executable).parent}:{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}"
        self.environment = client_environment(folder, path, CONDOR_CONFIG=str(config))
        # It ends by itself after an hour, should the tests be killed.
        self.command("condor_master", "-runfor", "60", "-pidfile", str(folder / "run" / "master.pid"))
        wait_until(self._is_up, f"the pool in {folder} is up")

    def _is_up(self) -> bool:
        command = [*UNPRIVILEGED, "condor_status", "-any", "-af", "MyType"]
        found = subprocess.run(command, env=self.environment, capture_output=True, text=True).stdout.split()
        return found.count("Machine") >= len(MACHINES) and "Scheduler" in found

    def command(self, *arguments: str, cwd: Path | None = None) -> str:
        """Standard output of one HTCondor command; a failure raises CalledProcessError."""
        done = subprocess.run(
            [*UNPRIVILEGED, *arguments],
            cwd=cwd,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            preexec_fn=heed_interrupts,
        )
        return done.stdout

    def queue(self, constraint: str = "true") -> list[dict]:
        """The ads of the jobs now in the queue."""
        return json.loads(self.command("condor_q", "-json", "-constraint", constraint) or "[]")

    def history(self, constraint: str = "true") -> list[dict]:
        """The ads of the jobs that have left the queue, oldest first."""
        return json.loads(self.command("condor_history", "-json", "-constraint", constraint) or "[]")[::-1]

    @property
    def _master(self) -> psutil.Process:
        return psutil.Process(int((self.folder / "run" / "master.pid").read_text()))

    def schedd(self) -> psutil.Process | None:
        """The process of the schedd; None for the moment before the master starts another one."""
        return next((p for p in self._master.children() if p.name() == "condor_schedd"), None)

    @contextmanager
    def without_schedd(self) -> Iterator[None]:
        """Within this context there is no schedd."""
        master, old = self._master, self.schedd()
        master.suspend()
        old.kill()
        try:
            yield
        finally:
            master.resume()
            wait_until(lambda: self.schedd() not in (None, old), "the master has started another schedd")

    @contextmanager
    def lost(self, machine: str) -> Iterator[None]:
        """Within this context the machine is dead, and nothing reports it. Afterwards it comes back, empty."""
        master = self._master
        master.suspend()  # the master would start the startd again
        for startd in master.children():
            if startd.name() == "condor_startd" and ("STARTD2" in startd.cmdline()) == (machine == "gpu2.example.com"):
                for process in [startd, *startd.children(recursive=True)]:
                    process.kill()
        try:
            yield
        finally:
            master.resume()
            wait_until(self._is_up, "the lost machine is back")

    def stop(self) -> None:
        master = self._master
        master.send_signal(signal.SIGQUIT)  # fast shutdown: jobs are killed
        master.wait(LIMIT_S)


class Project(WorkingFolder):
    """A working directory whose jobs run on the pool."""

    def __init__(self, pool: Pool, folder: Path):
        super().__init__(folder, pool.environment, "condor", UNPRIVILEGED)
        self.pool = pool

    @property
    def jobs_here(self) -> str:
        """Constraint that selects this project's jobs in the pool."""
        return f'SnakemakeWorkdir == "{self.folder}"'

    def end(self) -> None:
        """Takes away the controllers and jobs that a failed test has left."""
        super().end()
        if self.pool.queue(self.jobs_here):
            self.pool.command("condor_rm", "-constraint", self.jobs_here)
