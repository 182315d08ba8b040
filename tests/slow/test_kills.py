"""Killing the pipeline at random moments and starting it again changes no result.

float32 on a CPU: adapters, samples and scores have the same checksums as in an undisturbed run. Timing and provenance
live in files of their own and are not compared.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from processes import below

ROOT = Path(__file__).parents[2]
KILLS = 10


def prepare(folder: Path) -> Path:
    folder.mkdir()
    for name in ("Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def start(folder: Path, *settings_and_targets: str) -> subprocess.Popen:
    command = ["snakemake", "--cores", "2", "--configfile", "experiments/smoke.yaml"]
    command += ["--config", "run_arms=[float32]", "report={baseline_arm: float32}", *settings_and_targets]
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


RUNS = [f"results/smoke/runs/float32/seed-{seed}" for seed in (0, 1)]
TRAIN = ("perfectible={enabled: false}", "--", *(f"{run}/facts-4.json" for run in RUNS))


def wait_for_a_step(process: subprocess.Popen, folder: Path, stop: int) -> None:
    """Until every seed of a segment has made its first step."""
    files = [folder / run / f"steps-{stop}.jsonl" for run in RUNS]
    while not all(file.exists() and file.stat().st_size for file in files):
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        time.sleep(0.01)


def test_kills_in_the_middle_of_a_segment_of_several_seeds(tmp_path):
    undisturbed = prepare(tmp_path / "undisturbed")
    assert start(undisturbed, *TRAIN).wait() == 0
    expected = checksums(undisturbed)
    assert len(expected) == 2 * 2 * 2  # adapters and steps

    disturbed = prepare(tmp_path / "disturbed")
    process = start(disturbed, *TRAIN)
    wait_for_a_step(process, disturbed, 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(disturbed.rglob("facts-*.json"))
    unlock(disturbed)

    process = start(disturbed, *TRAIN)
    wait_for_a_step(process, disturbed, 4)
    for pid in below(process.pid):  # the job alone
        with contextlib.suppress(ProcessLookupError):  # it ended with those before it
            os.kill(pid, signal.SIGKILL)
    assert process.wait() == 1
    assert {path.name for path in disturbed.rglob("facts-*.json")} == {"facts-2.json"}

    assert start(disturbed, *TRAIN).wait() == 0
    assert checksums(disturbed) == expected
    for run in RUNS:
        assert json.loads((disturbed / run / "facts-4.json").read_text())["together"] == [0, 1]
