from collections.abc import Iterator
from pathlib import Path

import pytest
from pool import Pool, Project, toy_pipeline


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
