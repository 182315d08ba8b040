"""Where the pipeline runs: a clone with a blank in its path, a working directory elsewhere, a clone that moves."""

import os
import subprocess
import sys

from conftest import copy_pipeline

TARGET = "results/tiny/model/manifest.json"
UP_TO_DATE = "Nothing to be done"


def snakemake(folder, *options):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "snakemake", TARGET, *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_results_are_made_and_known_again_wherever_clone_and_working_directory_lie(tmp_path):
    clone, elsewhere = copy_pipeline(tmp_path / "my clone"), tmp_path / "work here"
    elsewhere.mkdir()
    for options in ((), ("--directory", elsewhere)):
        done = snakemake(clone, *options)
        assert done.returncode == 0, done.stderr[-2000:]
    assert (clone / TARGET).exists() and (elsewhere / TARGET).exists()
    link = tmp_path / "link"
    link.symlink_to(clone)
    assert UP_TO_DATE in snakemake(link, "-n").stdout
    moved = clone.rename(tmp_path / "moved clone")
    assert UP_TO_DATE in snakemake(moved, "-n").stdout
    assert UP_TO_DATE in snakemake(elsewhere, "-n", "-s", moved / "Snakefile").stdout
