import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# the toy pipeline and the helpers that know nothing of HTCondor
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "condor"))

from cluster import Cluster, Project  # noqa: E402
from pool import real_pipeline, toy_pipeline  # noqa: E402


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.stop()


@pytest.fixture
def project(cluster: Cluster, tmp_path: Path) -> Iterator[Project]:
    project = Project(cluster, toy_pipeline(tmp_path / "project"))
    yield project
    project.end()
    print(project.log)  # shown if the test failed


@pytest.fixture(scope="session")
def small_experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, subprocess.Popen]]:
    """The smoke experiment on a cluster of its own, and its controller.

    It has one segment for each arm, and no audits: they double the time and ask for a GPU as sampling does. The
    programs compute on CPUs, but the GPU rules ask for the cluster's stub GPUs.
    """
    folder = tmp_path_factory.mktemp("small")
    cluster = Cluster(folder / "cluster")
    project = Project(cluster, real_pipeline(folder / "project"))
    smaller = ("max_steps=2", "evaluation={every: 2}", "audit={every: 1000}")
    gpus = ("train_set:gpu=1", "train:gpu=1", "sample:gpu=1")
    arguments = ("--configfile", "experiments/smoke.yaml", "--config", *smaller, "--set-resources", *gpus)
    yield project, project.start(*arguments)
    project.end()
    cluster.stop()


@pytest.fixture(scope="session", autouse=True)
def start_early(request: pytest.FixtureRequest) -> None:
    """Start the small experiment first, so that it computes while the other tests mostly wait."""
    if any("small_experiment" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("small_experiment")
