"""Killing the pipeline at random moments and starting it again changes no result.

float32 on a CPU: adapters, samples and scores have the same checksums as in an undisturbed run. Timing and provenance
live in files of their own and are not compared.
"""

import hashlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = 10


def prepare(folder: Path) -> Path:
    folder.mkdir()
    for name in ("Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def start(folder: Path) -> subprocess.Popen:
    command = ["snakemake", "--cores", "2", "--configfile", "experiments/smoke.yaml"]
    command += ["--config", "run_arms=[float32]", "report={baseline_arm: float32}"]
    log = open(folder / "log", "a")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def unlock(folder: Path) -> None:
    subprocess.run(["snakemake", "--unlock"], cwd=folder, check=True, capture_output=True)


def checksums(folder: Path) -> dict[str, str]:
    results = folder / "results" / "smoke"
    patterns = (
        "runs/**/adapter_model.safetensors",
        "runs/**/steps-*.jsonl",
        "samples/**/*.parquet",
        "scores/**/*.parquet",
    )
    files = [path for pattern in patterns for path in results.glob(pattern)]
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_kills_change_no_result(tmp_path):
    undisturbed = prepare(tmp_path / "undisturbed")
    began = time.monotonic()
    assert start(undisturbed).wait() == 0
    usual_s = time.monotonic() - began
    expected = checksums(undisturbed)
    assert len(expected) >= 6

    disturbed = prepare(tmp_path / "disturbed")
    moments = random.Random(0)
    for _ in range(KILLS):
        process = start(disturbed)
        # Short enough that all kills fall into the run, which repeats the lost work.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=moments.uniform(0.02, 0.2) * usual_s)
        os.killpg(process.pid, signal.SIGKILL)  # Snakemake and every job
        process.wait()
        unlock(disturbed)
    assert start(disturbed).wait() == 0
    assert checksums(disturbed) == expected
