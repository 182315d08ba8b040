import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pool import Pool, Project, real_pipeline, toy_pipeline


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
    """The smoke experiment, running on a pool of its own, and its controller.

    It has one segment for each arm, and no audits: they double the time and ask for a GPU as sampling does. The
    programs compute on CPUs, but the GPU rules ask for the pool's simulated GPUs.
    """
    folder = tmp_path_factory.mktemp("small")
    pool = Pool(folder / "pool")
    project = Project(pool, real_pipeline(folder / "project"))
    smaller = ("max_steps=2", "evaluation={every: 2}", "audit={every: 1000}")
    gpus = ("train_set:gpu=1", "train:gpu=1", "sample:gpu=1")
    arguments = ("--configfile", "experiments/smoke.yaml", "--config", *smaller, "--set-resources", *gpus)
    yield project, project.start(*arguments)
    project.end()
    pool.stop()


@pytest.fixture(scope="session", autouse=True)
def start_early(request: pytest.FixtureRequest) -> None:
    """Start the small experiment first, so that it computes while the other tests mostly wait."""
    if any("small_experiment" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("small_experiment")
