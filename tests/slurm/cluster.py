"""A real Slurm of one machine for tests: started in a folder of its own, asked, and ended with it."""

import getpass
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from working_folder import LIMIT_S, WorkingFolder, client_environment, wait_until

HERE = Path(__file__).resolve().parent
GPUS = 2


class Cluster:
    """One machine with 8 CPUs, 64 GB and two GPUs that are stub device files.

    `environment` lets a client find the cluster.
    """

    def __init__(self, folder: Path):
        subprocess.run([HERE / "install_slurm.sh"], check=True, stdout=sys.stderr)
        self.folder = folder
        for name in ("munge", "state", "spool", "devices", "home"):
            (folder / name).mkdir(parents=True)
        (folder / "munge" / "key").write_bytes(os.urandom(128))
        for private in (folder / "munge", folder / "munge" / "key"):
            private.chmod(0o700)
        for i in range(GPUS):
            (folder / "devices" / f"nvidia{i}").symlink_to("/dev/null")
        self._write_settings()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
        self.environment = client_environment(folder, path, SLURM_CONF=str(folder / "slurm.conf"))
        self._daemons: list[subprocess.Popen] = []
        try:
            munge = folder / "munge"
            files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
            self._start("munged", "--foreground", "--force", *(f"--{k}={munge / v}" for k, v in files.items()))
            wait_until((munge / "socket").exists, "munged listens")
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D")
            wait_until(lambda: self._is_idle(), f"the cluster in {folder} is up")
        except BaseException:
            self.stop()
            raise

    def _write_settings(self) -> None:
        with socket.socket() as first, socket.socket() as second:  # free ports
            for each in (first, second):
                each.bind(("127.0.0.1", 0))
            ports = [str(each.getsockname()[1]) for each in (first, second)]
        filled = {"HOST": socket.gethostname().split(".")[0], "USER": getpass.getuser(), "FOLDER": str(self.folder)}
        filled |= {"CONTROLLER_PORT": ports[0], "MACHINE_PORT": ports[1]}
        text = re.sub(
            r"@([A-Z_]+)@", lambda match: filled[match[1]], (HERE / "slurm.conf").read_text().split("\n", 1)[1]
        )
        (self.folder / "slurm.conf").write_text(text)
        devices = f"{self.folder}/devices/nvidia[0-{GPUS - 1}]"
        (self.folder / "gres.conf").write_text(f"Name=gpu File={devices} Flags=nvidia_gpu_env\n")

    def _start(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out").open("w") as log:
            daemon = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._daemons.append(daemon)

    def _is_idle(self) -> bool:
        assert all(daemon.poll() is None for daemon in self._daemons), f"a daemon ended; see {self.folder}/*.log"
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=self.environment, capture_output=True, text=True)
        return done.stdout.strip() == "idle"

    def command(self, *arguments: str, cwd: Path | None = None) -> str:
        """Standard output of one of Slurm's commands; a failure raises CalledProcessError."""
        return subprocess.run(
            arguments, cwd=cwd, env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def jobs(self, folder: Path) -> list[dict[str, str]]:
        """Slurm's records of a directory's jobs, in the queue or ended within five minutes, in order of submission."""
        lines = self.command("scontrol", "show", "job", "--oneliner").splitlines()
        records = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if "JobId=" in line]
        return [record for record in records if record["WorkDir"] == str(folder)]

    def queue(self, folder: Path) -> list[str]:
        """The states of a directory's jobs that are in the queue."""
        lines = self.command("squeue", "--noheader", "--format=%T|%Z").splitlines()
        return [state for state, where in (line.split("|") for line in lines) if where == str(folder)]

    def ended(self, folder: Path) -> list[dict[str, str]]:
        """Slurm's record of each of a directory's jobs at its end."""
        file = self.folder / "ended"
        lines = file.read_text().splitlines() if file.exists() else []
        records = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines]
        return [record for record in records if record["WorkDir"] == str(folder)]

    def stop(self) -> None:
        """Ends the jobs, then the daemons, each by its own process."""
        if len(self._daemons) == 3:
            subprocess.run(["scancel", "--signal=KILL", "--full", "--me"], env=self.environment)
            subprocess.run(["scancel", "--me"], env=self.environment)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(LIMIT_S)


class Project(WorkingFolder):
    """A working directory whose jobs run on the cluster."""

    def __init__(self, cluster: Cluster, folder: Path):
        super().__init__(folder, cluster.environment, "slurm")
        self.cluster = cluster

    def end(self) -> None:
        """Takes away the controllers and jobs that a failed test has left."""
        super().end()
        for job in self.cluster.jobs(self.folder):
            if job["JobState"] in ("PENDING", "RUNNING"):
                self.cluster.command("scancel", job["JobId"])
