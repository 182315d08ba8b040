import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pool import Pool, Project
from working_folder import real_pipeline, start_early, toy_pipeline  # noqa: F401  start_early is a fixture


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes long; runs in `make test-slow` only")


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    pool = Pool(tmp_path_factory.mktemp("condor") / "pool")
    yield pool
    pool.stop()


@pytest.fixture
def project(pool: Pool, tmp_path: Path) -> Iterator[Project]:
    project = Project(pool, toy_pipeline(tmp_path / "project"))
    yield project
    project.end()
    print(project.log)  # shown if the test failed


@pytest.fixture(scope="session")
def small_experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, subprocess.Popen]]:
    """The small experiment, running on a pool of its own, and its controller."""
    folder = tmp_path_factory.mktemp("small")
    pool = Pool(folder / "pool")
    project = Project(pool, real_pipeline(folder / "project"))
    yield project, project.start_small_experiment()
    project.end()
    pool.stop()
