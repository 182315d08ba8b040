"""Snakemake in a working directory of its own on a real cluster, whichever it is."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TARGET = "out/pretrain"  # of the toy pipeline
# No test waits longer for anything; half of MachineMaxVacateTime in tests/condor/pool.conf
LIMIT_S = 300


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


def client_environment(folder: Path, path: str, **variables: str) -> dict[str, str]:
    """What a client of the cluster in `folder` needs; `path` is its PATH."""
    return {
        **os.environ,
        "PATH": path,
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home" / "cache"),
        "OMP_NUM_THREADS": "1",
        **variables,
    }


class WorkingFolder:
    """A pipeline's working directory and the Snakemake that runs there.

    `launcher` stands before each command.
    """

    def __init__(self, folder: Path, environment: dict[str, str], profile: str, launcher: tuple[str, ...] = ()):
        self.folder, self.profiles = folder, [profile]
        self._environment, self._launcher = environment, launcher
        (folder / "blocked").mkdir()
        self.controllers: list[subprocess.Popen] = []

    def start(self, *arguments: str) -> subprocess.Popen:
        """`snakemake --profile ...` with quick polling, its output in controller.log."""
        profiles = [option for profile in self.profiles for option in ("--profile", profile)]
        command = [*self._launcher, "snakemake", *profiles, "--seconds-between-status-checks", "1"]
        with (self.folder / "controller.log").open("a") as log:
            controller = subprocess.Popen(
                [*command, *arguments],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=heed_interrupts,
            )
        self.controllers.append(controller)
        return controller

    def start_small_experiment(self) -> subprocess.Popen:
        """The smoke experiment, for a folder with the real pipeline.

        One segment for each arm, and no audits: they double the time and ask for a GPU as sampling does. The programs
        compute on CPUs; the GPU rules ask for the cluster's simulated GPUs all the same.
        """
        smaller = ("max_steps=2", "evaluation={every: 2}", "audit={every: 1000}")
        gpus = ("train_set:gpu=1", "train:gpu=1", "sample:gpu=1")
        return self.start("--configfile", "experiments/smoke.yaml", "--config", *smaller, "--set-resources", *gpus)

    def start_blocked(self, *arguments: str) -> subprocess.Popen:
        """A controller in the toy pipeline whose `pretrain` job runs and will not end by itself."""
        self.block("pretrain")
        controller = self.start(TARGET, *arguments)
        wait_until(lambda: self.events("pretrain") == ["start"], "pretrain runs")
        return controller

    def run(self, *arguments: str) -> int:
        """Exit status of a whole run."""
        return self.start(*arguments).wait(LIMIT_S)

    def end(self) -> None:
        """Takes away the controllers that a failed test has left. A kind of cluster adds its jobs."""
        for controller in self.controllers:
            if controller.poll() is None:
                controller.kill()
                controller.wait()

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


@pytest.fixture(scope="session", autouse=True)
def start_early(request: pytest.FixtureRequest) -> None:
    """Start the small experiment first, so that it computes while the other tests mostly wait."""
    if any("small_experiment" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("small_experiment")


def check_small_experiment(folder: WorkingFolder) -> None:
    """The small experiment ended in a report of both arms."""
    results = folder.folder / "results" / "smoke"
    assert {facts.parents[1].name for facts in results.glob("runs/*/*/facts-*.json")} == {"float16", "bfloat16"}
    assert json.loads((results / "report" / "report.json").read_text())
    assert (results / "report" / "report.html").exists()
