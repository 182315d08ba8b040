"""The stages up to a trained checkpoint, in a clone with a blank in its path and with results elsewhere."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLONED = ("Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "experiments")
RUN = Path("results/smoke/runs/bfloat16/seed-0")
SETTINGS = ("run_arms=[bfloat16]", "report={baseline_arm: bfloat16}", "perfectible={enabled: false}")
NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's."""
    place = Path(tempfile.mkdtemp(prefix="any-place-"))
    place.chmod(0o755)
    for name in CLONED:
        source, target = ROOT / name, place / "my clone" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (place / "work here").mkdir()
    yield place
    shutil.rmtree(place)


def train(place: Path, **user) -> None:
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
    for name in ("HOME", "TMPDIR"):  # without a blank: PyTorch compiles there, by commands without quotes
        (place / name).mkdir()
        environment[name] = str(place / name)
    if user:
        for name in ("work here", "HOME", "TMPDIR"):
            os.chown(place / name, NOBODY, NOBODY)
    command = [sys.executable, "-m", "snakemake", RUN / "facts-2.json", "--cores", "1", "--directory"]
    command += [place / "work here", "--configfile", "experiments/smoke.yaml", "--config", *SETTINGS]
    done = subprocess.run(
        command, cwd=place / "my clone", env=environment, capture_output=True, text=True, timeout=900, **user
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    facts = json.loads((place / "work here" / RUN / "facts-2.json").read_text())
    assert facts["status"] == "running" and facts["observed"]["trainer_dtype"] == "bfloat16"
    assert (place / "work here" / RUN / "checkpoint-2/adapter_model.safetensors").stat().st_size > 1000
    assert {path.name for path in (place / "my clone").iterdir()} == set(CLONED)


def test_a_blank_in_the_path_and_results_elsewhere(place):
    train(place)


def test_another_user_to_whom_the_clone_is_read_only(place):
    if os.getuid() != 0:
        pytest.skip("to become another user takes root")
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", "import snakemake"], check=True, cwd="/", **user)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip(f"another user cannot run {sys.executable}, which lies in a private folder")
    train(place, **user)
