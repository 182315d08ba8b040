import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, Project
from working_folder import real_pipeline, start_early, toy_pipeline  # noqa: F401  start_early is a fixture


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
    """The small experiment, running on a cluster of its own, and its controller."""
    folder = tmp_path_factory.mktemp("small")
    cluster = Cluster(folder / "cluster")
    project = Project(cluster, real_pipeline(folder / "project"))
    yield project, project.start_small_experiment()
    project.end()
    cluster.stop()
