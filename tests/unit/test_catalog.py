"""Requirements of the Snakemake workflow catalog: files, their form, and the commands of `make help`."""

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = {"conda", "apptainer", "apptainer+conda"}


def test_files_lie_where_the_catalog_looks():
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
    assert (ROOT / "workflow/Snakefile").is_file()
    assert all(path.suffix == ".smk" for path in (ROOT / "workflow/rules").iterdir())
    assert "config.yaml" in (ROOT / "config/README.md").read_text()


def test_the_catalogs_settings_have_its_form():
    settings = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert settings.keys() == {"usage"}
    assert settings["usage"].keys() == {"mandatory-flags", "software-stack-deployment", "report"}
    assert settings["usage"]["mandatory-flags"].keys() == {"desc", "flags"}
    deployment = settings["usage"]["software-stack-deployment"]
    assert deployment.keys() == DEPLOYMENTS and all(isinstance(works, bool) for works in deployment.values())
    assert isinstance(settings["usage"]["report"], bool)


def test_the_configurations_documentation_names_every_section_and_no_file_that_is_not_there():
    text = (ROOT / "config/README.md").read_text()
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    rows = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall("`(.+?)`", rows))
    assert named <= config.keys()
    assert config.keys() - named <= {"device", "pretrain", "warm_start"}
    for path in re.findall(r"`(\w+/[\w./-]+)`", text):
        assert (ROOT / path).exists() or "NAME" in path, path


def test_help_has_one_line_for_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    shown = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    lines = [re.fullmatch(r"([a-z0-9-]+) +(\S.*)", line) for line in shown.splitlines()]
    assert all(lines) and sorted(line[1] for line in lines) == sorted(targets)


def test_files_that_make_starts_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for path in re.findall(r"(?:workflow|tests|benchmarks)/[\w/.-]+\.(?:py|mjs)", makefile):
        assert (ROOT / path).is_file(), path


def test_no_environment_has_an_executor_that_plain_snakemake_would_import():
    for name in ("cpu", "gpu", "dev"):
        assert "snakemake-executor-plugin" not in (ROOT / f"envs/requirements-{name}.txt").read_text()
    for name in ("htcondor", "slurm"):
        assert f"snakemake-executor-plugin-{name}==" in (ROOT / f"envs/requirements-{name}.txt").read_text()


def test_one_image_is_described_and_used_once():
    lines = [line for path in (ROOT / "Snakefile", *(ROOT / "workflow/rules").iterdir()) for line in path.open()]
    assert sum(line.strip().startswith("container:") for line in lines) == 1
    assert "COPY envs/requirements-${STACK}.txt" in (ROOT / "envs/Containerfile").read_text()
