"""A copy of the pipeline in which every job counts as done although none has run."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from arc_precision.contracts import layout
from arc_precision.staleness.plan import jobs

ROOT = Path(__file__).parents[2]


def copy_pipeline(to: Path) -> Path:
    """The files that git knows, as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def inside(output: str) -> str:
    """A path in the folder of its experiment."""
    return output.split("/", 2)[2]


def finish(root: Path, config: dict | None = None, configfiles=()) -> None:
    """Give every job an output and let Snakemake record it as done with the present settings."""
    for job in jobs(root, configfiles, config):
        for output in job.output:
            path = root / output
            if output.endswith("report_data"):
                path.mkdir(parents=True, exist_ok=True)
            elif not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(output)
        facts = {output: values for output in job.output if (values := layout.FACTS.parse(inside(output)))}
        for output in facts:
            (root / output).write_text(json.dumps({"seeds_of_job": [int(values["seed"]) for values in facts.values()]}))
    jobs(root, configfiles, config, touch=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The default experiment with everything done. Tests undo their changes."""
    root = copy_pipeline(tmp_path_factory.mktemp("pipeline"))
    finish(root)
    assert not [job for job in jobs(root) if job.stale]
    return root
