"""A model named by its id on the Hub, from a filled cache and without a network."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, copy_pipeline, finish

from arc_precision.model import hub
from arc_precision.staleness.plan import jobs

TINY = ROOT / "resources" / "tiny-arc"
MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
REPOSITORY = "some-org/Tiny-Arc.1"
ONE, OTHER = "1" * 40, "2" * 40


def fill(cache: Path, commit: str, *, ref: str | None = "main", extra: bytes = b"", names=MODEL_FILES) -> Path:
    """A snapshot as huggingface_hub lays it out, blobs by hash, links to them by commit, a ref; gives its folder."""
    folder = cache / f"models--{REPOSITORY.replace('/', '--')}"
    for name in names:
        content = (TINY / name).read_bytes() + (extra if name == "generation_config.json" else b"")
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = folder / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../../blobs") / blob.name)
    if ref:
        (folder / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (folder / "refs" / ref).write_text(commit)
    return folder / "snapshots" / commit


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A Hugging Face home with an empty cache, and no network."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    return tmp_path / "home"


def test_a_model_is_found_by_branch_tag_and_commit(home):
    older, newer = fill(home / "hub", ONE, ref="v1/stable"), fill(home / "hub", OTHER)
    assert hub.snapshot(REPOSITORY) == (newer, f"{REPOSITORY}@{OTHER}")
    assert hub.snapshot(f"{REPOSITORY}@v1/stable") == (older, f"{REPOSITORY}@{ONE}")
    assert hub.snapshot(f"{REPOSITORY}@{ONE}") == (older, f"{REPOSITORY}@{ONE}")


PLACES = {
    "home": {"HF_HOME": "{tmp}/a"},
    "cache": {"HF_HOME": "{tmp}/a", "HF_HUB_CACHE": "{tmp}/b"},
    "old name": {"HUGGINGFACE_HUB_CACHE": "{tmp}/b"},
    "xdg": {"XDG_CACHE_HOME": "{tmp}/c"},
    "a user's": {"HF_HOME": "~/d"},
    "a variable": {"HF_HOME": "$HOME/e"},
    "none": {},
}


@pytest.mark.parametrize("variables", PLACES.values(), ids=PLACES)
def test_the_cache_lies_where_the_library_has_it(variables, tmp_path, monkeypatch):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    fill(hub.cache(), ONE)
    probe = (
        "from huggingface_hub import constants, snapshot_download; "
        f"print(constants.HF_HUB_CACHE); print(snapshot_download('{REPOSITORY}', local_files_only=True))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.stdout.splitlines() == [str(hub.cache()), str(hub.snapshot(REPOSITORY)[0])], done.stderr[-500:]


def test_what_is_not_in_the_cache_is_downloaded_once(home, monkeypatch):
    """A partly downloaded commit is completed, so that the branch does not move by the way."""
    asked = []

    def download(repository, revision, allow_patterns):
        asked.append((repository, revision))
        assert {"config.json", "model*.safetensors", "tokenizer.json"} <= set(allow_patterns)
        names = [name for name in MODEL_FILES if not (folder / "snapshots" / ONE / name).exists()]
        return str(fill(home / "hub", ONE, names=names))

    folder = home / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for _ in range(2):
        assert hub.snapshot(f"{REPOSITORY}@main") == (folder / "snapshots" / ONE, f"{REPOSITORY}@{ONE}")
    assert asked == [(REPOSITORY, "main")]
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        (folder / "snapshots" / ONE / name).unlink()
        assert hub.snapshot(REPOSITORY)[1].endswith(ONE)
    assert asked[1:] == [(REPOSITORY, ONE)] * 3


def refusal(path: str) -> str:
    with pytest.raises(ValueError) as caught:
        hub.snapshot(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_cache_and_network_one_sentence_says_what_to_do(home, monkeypatch):
    sentence = refusal(f"{REPOSITORY}@v2")
    assert sentence.startswith(f"model.path: {REPOSITORY}@v2 is no folder, is not whole in the Hub's cache {home}/hub")
    assert sentence.endswith(f"or run `hf download {REPOSITORY} --revision v2` where there is a network")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "cannot be downloaded: huggingface_hub is not installed here;" in refusal(REPOSITORY)


def test_paths_that_are_no_ids_are_left_alone(tmp_path, monkeypatch):
    assert [hub.is_id(path) for path in (REPOSITORY, f"{REPOSITORY}@v1", f"{REPOSITORY}@refs/pr/3")] == [True] * 3
    wrong = ("nowhere", "/a/b", "a/b/c", "a/b@", "a/b@v/../../x", "./a/b", "../a", "a/b@/x")
    assert not any(map(hub.is_id, wrong))


def snakemake(folder: Path, *options: str) -> subprocess.CompletedProcess:
    for name in ("Snakefile", "config.yaml", "workflow", "envs", "profiles", "resources", "experiments"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "snakemake", *options, "--cores", "1", "--configfile", "experiments/smoke.yaml"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_a_model_of_the_hub_runs_from_the_cache(home, tmp_path):
    fill(home / "hub", ONE)
    config = [f"model={{path: {REPOSITORY}}}", "sampling={engine: transformers}", "evaluation={n_samples: 1}"]
    folder = tmp_path / "run"
    folder.mkdir()
    done = snakemake(folder, "base", "--config", *config)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    manifest = json.loads((folder / "results/smoke/model/manifest.json").read_text())
    assert manifest["on_hub"] == f"{REPOSITORY}@{ONE}"
    expected = {name: hashlib.sha256((TINY / name).read_bytes()).hexdigest() for name in MODEL_FILES}
    assert manifest["files"] == expected
    assert list((folder / "results/smoke/scores/base").rglob("*.parquet"))


def test_a_missing_model_is_refused_before_any_job(home, tmp_path):
    done = snakemake(tmp_path, "-n", "--config", f"model={{path: {REPOSITORY}}}")
    assert done.returncode == 1 and f"model.path: {REPOSITORY} is no folder" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_branch_that_moves_makes_stale_and_is_named(home, tmp_path):
    root = copy_pipeline(tmp_path / "pipeline")
    fill(home / "hub", ONE)
    by_branch, by_commit = ({"model": {"path": path}} for path in (REPOSITORY, f"{REPOSITORY}@{ONE}"))
    finish(root, by_branch)
    for config in (by_branch, by_commit):
        assert not [job for job in jobs(root, config=config) if job.stale]
    fill(home / "hub", OTHER, extra=b"\n")
    plan = jobs(root, config=by_branch)
    assert {"model_manifest", "train_candidates", "train", "sample"} <= {job.rule for job in plan if job.stale}
    reasons = {reason for job in plan for reason in job.reasons}
    assert f"model on the Hub was {REPOSITORY}@{ONE} and is now {REPOSITORY}@{OTHER}" in reasons
    assert not [job for job in jobs(root, config=by_commit) if job.stale]


PROBE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"huggingface_hub", "numpy", "torch", "transformers"}:
            raise ModuleNotFoundError(f"planning imports {name}")
sys.meta_path.insert(0, Refuse())
from snakemake.cli import main
main(sys.argv[1:])
"""


def test_a_plan_from_the_cache_needs_no_library_of_the_hub(home):
    fill(home / "hub", ONE)
    command = [sys.executable, "-c", PROBE, "-n", "--config", f"model={{path: {REPOSITORY}}}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
