"""In an environment with Snakemake and pydantic alone: plans, Snakemake's linter, and no warning of HTCondor's library.

A plan with conda or apptainer asks these programs only for their version and settings, so stubs can answer.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUBS = {
    "conda": """case "$1" in
--version) echo "conda 25.5.1" ;;
info) echo '{"platform": "linux-64", "conda_prefix": "/conda"}' ;;
config) echo '{"get": {"channel_priority": "strict"}}' ;;
*) exit 1 ;;
esac""",
    "apptainer": '[ "$1" = --version ] && echo "apptainer version 1.4.1"',
}


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory) -> Path:
    """The programs of a fresh environment with the pinned versions of these two."""
    folder = tmp_path_factory.mktemp("alone") / "venv"
    pins = (ROOT / "envs/requirements-cpu.txt").read_text()
    packages = [re.search(rf"^{name}==\S+", pins, re.MULTILINE)[0] for name in ("snakemake", "pydantic")]
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/pip", "install", "-q", *packages], check=True)
    for name, text in STUBS.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    return folder / "bin"


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    for name in ("Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    return folder


OPTIONS = (
    "-n",
    "-n --sdm conda",
    "-n --sdm apptainer",
    "--lint",
    "-n -s workflow/Snakefile",
    "--lint -s workflow/Snakefile",
)


@pytest.mark.parametrize("options", OPTIONS)
def test_plans_and_lints(bin_folder, clone, options):
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "CONDOR_CONFIG")}
    environment["PATH"] = f"{bin_folder}:{os.environ['PATH']}"
    command = [bin_folder / "snakemake", *options.split()]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CONDOR_CONFIG" not in done.stdout + done.stderr
    if "-n" in options:
        assert re.search(r"^report_page +1$", done.stdout, re.MULTILINE)
    else:
        assert "Congratulations" in done.stderr
