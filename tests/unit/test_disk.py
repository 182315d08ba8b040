"""Disk: the check before an invocation, and the removal of files after it."""

from types import SimpleNamespace

import pytest

from arc_precision.config.retention import RetentionConfig
from arc_precision.disk import check_folder, check_results, tidy


def test_all_but_the_last_trainer_state_go(tmp_path):
    for arm in ("float16", "bfloat16"):
        for step in (10, 20, 100):
            folder = tmp_path / "runs" / arm / "seed-0" / f"checkpoint-{step}"
            folder.mkdir(parents=True)
            (folder / "trainer_state.tar").touch()
            (folder / "adapter_model.safetensors").touch()
    assert not tidy(tmp_path, RetentionConfig(trainer_states="all"))
    assert len(tidy(tmp_path, RetentionConfig())) == 4
    assert {path.parent.name for path in tmp_path.rglob("trainer_state.tar")} == {"checkpoint-100"}
    assert len(list(tmp_path.rglob("adapter_model.safetensors"))) == 6


def test_whole_models_are_kept_unless_the_last_alone_is_wanted(tmp_path):
    for step in (20, 100):
        for name in ("model.safetensors", "config.json", "trainer_state.tar"):
            path = tmp_path / "runs" / "whole" / "seed-0" / f"checkpoint-{step}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert [path.name for path in tidy(tmp_path, RetentionConfig())] == ["trainer_state.tar"]
    assert [path.name for path in tidy(tmp_path, RetentionConfig(weights="last"))] == ["model.safetensors"]
    left = sorted(path.relative_to(tmp_path / "runs/whole/seed-0").as_posix() for path in tmp_path.rglob("*.*"))
    last = [f"checkpoint-100/{name}" for name in ("config.json", "model.safetensors", "trainer_state.tar")]
    assert left == [*last, "checkpoint-20/config.json"]


def test_a_full_disk_is_refused(tmp_path):
    check_results(tmp_path, RetentionConfig(min_free_disk_mb=0))
    with pytest.raises(ValueError, match="min_free_disk_mb: [0-9]+ MB are free, 1000000000 are wanted"):
        check_results(tmp_path, RetentionConfig(min_free_disk_mb=10**9))


def test_a_disk_without_any_space_is_refused_at_the_plan(tmp_path, monkeypatch):
    check_folder(tmp_path / "results" / "tiny")
    full = SimpleNamespace(free=2**20 - 1)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: full)
    with pytest.raises(ValueError, match=": the disk is full; free some"):
        check_folder(tmp_path / "results" / "tiny")


def test_results_that_cannot_be_written_are_refused_in_one_sentence(tmp_path, monkeypatch):
    def read_only(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(ValueError, match=f"^{tmp_path}: results cannot be written here .Read-only file system.; make"):
        check_results(tmp_path / "results" / "tiny", RetentionConfig(min_free_disk_mb=0))
