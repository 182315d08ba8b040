"""A job that fails, or is killed, in a finished experiment leaves every old result in place."""

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import pytest
from test_plan import fresh_clone, stale

SCORE = Path("workflow/scripts/score.py")
AUDIT_JOIN = Path("workflow/scripts/audit_join.py")
REPORT_DATA = Path("workflow/scripts/report_data.py")  # one of its outputs is a folder


@pytest.fixture
def clone(finished, tmp_path):
    """The default experiment with everything done."""
    return fresh_clone(finished, tmp_path)


def files(root: Path) -> dict[str, tuple]:
    """Content and modification time of each result. Logs and benchmarks are left out, because every attempt changes
    them."""
    results = root / "results"
    return {
        str(path.relative_to(results)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in results.rglob("*")
        if path.is_file() and not {"logs", "benchmarks"} & set(path.relative_to(results).parts)
    }


def snakemake(root: Path, *arguments: str) -> subprocess.Popen:
    command = ["snakemake", "--cores", "1", *arguments]
    return subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def ended(run: subprocess.Popen) -> int:
    """The exit status of a process. Its output is read, or a full pipe would stop it."""
    run.communicate()
    return run.returncode


def edit(path: Path, body: str) -> str:
    """Give a script another body; returns its text."""
    text = path.read_text()
    path.write_text(body)
    return text


@pytest.mark.parametrize("script", [SCORE, REPORT_DATA], ids=lambda path: path.stem)
def test_a_job_that_fails_costs_no_result(clone, script):
    before = files(clone)
    text = edit(clone / script, "raise SystemExit('error: a fault on purpose')\n")
    run = snakemake(clone, "--keep-going")
    output, _ = run.communicate()
    assert run.returncode != 0 and "a fault on purpose" in output
    assert files(clone) == before
    # The present results were made with the old script, and Snakemake knows it.
    assert script.stem in {job[0] for job in stale(clone)}
    (clone / script).write_text(text)
    assert not stale(clone)


def killed_halfway(clone: Path) -> str:
    """Kill a run, and its job that scores, when half of the output is written; returns the script's text."""
    os.mkfifo(clone / "began")
    half = "import sys\nopen(sys.argv[sys.argv.index('--output') + 1], 'w').write('half')\n"
    text = edit(clone / SCORE, half + "open('began', 'w').close()\nimport signal\nsignal.pause()\n")
    run = snakemake(clone)
    (clone / "began").read_text()  # blocks until the job opens it
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    return text


def test_a_job_that_is_killed_costs_no_result(clone):
    before = files(clone)
    text = killed_halfway(clone)
    assert files(clone) != before
    (clone / SCORE).write_text(text)
    # While the killed run's lock is there, nothing is touched: that run might still go on.
    lost = files(clone)
    stale(clone)
    assert files(clone) == lost
    assert ended(snakemake(clone, "--unlock")) == 0
    output, _ = snakemake(clone, "-n").communicate()  # planning also asks whether a job was interrupted
    assert "Nothing to be done" in output
    assert files(clone) == before


def test_what_a_killed_job_left_is_no_old_result(clone):
    for path in (clone / "results").rglob("scores/**/*.parquet"):
        path.unlink()
    text = killed_halfway(clone)
    assert ended(snakemake(clone, "--unlock")) == 0
    edit(clone / SCORE, "raise SystemExit('error: a fault on purpose')\n")
    assert ended(snakemake(clone, "--keep-going")) != 0
    assert not list((clone / "results").rglob("scores/**/*.parquet"))
    (clone / SCORE).write_text(text)
    assert "score" in {job[0] for job in stale(clone)}


def test_what_went_well_beside_a_failure_is_new(clone):
    before = files(clone)
    edit(clone / AUDIT_JOIN, "raise SystemExit('error: a fault on purpose')\n")
    edit(clone / SCORE, "import sys\nopen(sys.argv[sys.argv.index('--output') + 1], 'w').write('new')\n")
    run = snakemake(clone, "--keep-going")
    run.communicate()
    after = files(clone)
    assert run.returncode != 0 and after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {name for name in before if name.startswith("tiny/scores/")}
    assert {"audit_join", "report_data", "report_page"} == {job[0] for job in stale(clone)}
