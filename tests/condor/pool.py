"""A real HTCondor pool on one machine, for tests: started, asked, and stopped without root's rights."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CACHE = REPOSITORY / ".cache" / "condor"
# No test waits longer for anything; half of MachineMaxVacateTime in pool.conf
LIMIT_S = 300
MACHINES = {"gpu1.example.com", "gpu2.example.com"}

# Root becomes nobody: daemons of real root would change the machine's kernel settings, and no schedd takes root's jobs.
UNPRIVILEGED = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []


def wait_until(condition: Callable[[], object], what: str) -> object:
    """Returns the first true value of `condition`; the limit only turns a hang into a failure that names `what`."""
    deadline = time.monotonic() + LIMIT_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {LIMIT_S} s")
        time.sleep(0.2)
    return value


def heed_interrupts() -> None:
    """Let new processes heed SIGINT: tests in the background of a script ignore it, and their children would too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
        self.environment = {
            **os.environ,
            "CONDOR_CONFIG": str(config),
            "PATH": f"{Path(sys.executable).parent}:{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "XDG_CACHE_HOME": str(folder / "home" / "cache"),
            "OMP_NUM_THREADS": "1",
        }
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


def toy_pipeline(folder: Path) -> Path:
    """Makes `folder`, a working directory with the toy pipeline and the repository's own profiles."""
    folder.mkdir()
    for source in [*(HERE / "toy").iterdir(), *(REPOSITORY / name for name in ("condor", "slurm", "profiles"))]:
        (folder / source.name).symlink_to(source)
    return folder


def real_pipeline(folder: Path) -> Path:
    """Makes `folder`, a working directory with the repository's pipeline and nothing of its results."""
    folder.mkdir()
    for name in (
        "Snakefile",
        "config.yaml",
        "workflow",
        "experiments",
        "resources",
        "envs",
        "condor",
        "slurm",
        "profiles",
    ):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


class Project:
    """A pipeline's working directory and the Snakemake that runs there."""

    def __init__(self, pool: Pool, folder: Path):
        self.pool, self.folder = pool, folder
        (folder / "blocked").mkdir()
        self.profiles = ["condor"]
        self.controllers: list[subprocess.Popen] = []

    @property
    def jobs_here(self) -> str:
        """Constraint that selects this project's jobs in the pool."""
        return f'SnakemakeWorkdir == "{self.folder}"'

    def start(self, *arguments: str) -> subprocess.Popen:
        """`snakemake --profile condor ...` with quick polling, its output in controller.log."""
        profiles = [option for profile in self.profiles for option in ("--profile", profile)]
        command = [*UNPRIVILEGED, "snakemake", *profiles, "--seconds-between-status-checks", "1"]
        with (self.folder / "controller.log").open("a") as log:
            controller = subprocess.Popen(
                [*command, *arguments],
                cwd=self.folder,
                env=self.pool.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=heed_interrupts,
            )
        self.controllers.append(controller)
        return controller

    def run(self, *arguments: str) -> int:
        """Exit status of a whole run."""
        return self.start(*arguments).wait(LIMIT_S)

    def end(self) -> None:
        """Removes the controllers and jobs that a failed test has left."""
        for controller in self.controllers:
            if controller.poll() is None:
                controller.kill()
        if self.pool.queue(self.jobs_here):
            self.pool.command("condor_rm", "-constraint", self.jobs_here)

    @property
    def log(self) -> str:
        """The output of the controllers."""
        file = self.folder / "controller.log"
        return file.read_text() if file.exists() else ""

    def block(self, rule: str) -> None:
        """Jobs of this rule will wait, once started, until `unblock`."""
        (self.folder / "blocked" / rule).touch()

    def unblock(self, rule: str) -> None:
        (self.folder / "blocked" / rule).unlink()

    def events(self, rule: str) -> list[str]:
        """Notes of this rule's jobs: `start`, `signalled`, `conflict` (another job writes the same file), `end`."""
        file = self.folder / "events" / rule
        return file.read_text().split() if file.exists() else []
