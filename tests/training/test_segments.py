"""Trainer and sampler have the same weights after every update, and a run may be cut anywhere.

The first test holds in float32, where only the weights can make a difference; the faults show that it can fail.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from forks import ENVIRONMENT, TIMEOUT_S, run_script
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PROBE = Path(__file__).parent / "probe.py"


def probe(folder: Path, seeds: object, *arguments: object) -> Path:
    """Folder of the first seed's run; `seeds` such as 0 or "0,1"."""
    run_script(PROBE, folder, seeds, *arguments)
    return folder / str(seeds).split(",")[0]


def probe_in_two_processes(folder: Path, seeds: object, *arguments: object) -> Path:
    options = ("--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", 0)
    command = ["accelerate", "launch", "--cpu", "--num_processes", 2, *options, PROBE, folder, seeds, *arguments]
    environment = os.environ | ENVIRONMENT
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / str(seeds).split(",")[0]


def rows(folder: Path) -> list[dict]:
    files = sorted(folder.glob("steps-*.jsonl"), key=lambda path: int(path.stem.split("-")[1]))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def differences(folder: Path) -> list[float]:
    """Mean |d| per step, in nats. (A single token of probability e-15 may differ by 2e-5 in float32.)"""
    return [row["mismatch/logp_diff_abs_mean"] for row in rows(folder)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return probe(tmp_path_factory.mktemp("whole"), 0, 0, 4, 4)


def test_sampler_and_trainer_agree_after_updates(whole):
    assert len(rows(whole)) == 4
    assert all(row["grad_norm"] > 0 for row in rows(whole))
    assert max(differences(whole)) < 1e-5
    assert max(row["mismatch/logp_diff_abs_max"] for row in rows(whole)) < 1e-4


@pytest.mark.parametrize("fault", ["no_sync", "reused_id"])
def test_a_stale_adapter_shows(fault, tmp_path):
    measured = differences(probe(tmp_path, 0, 0, 4, 4, fault))
    assert measured[0] < 1e-5
    assert max(measured[1:]) > 1e-3


def test_where_no_token_counts_there_is_no_entropy_rather_than_none_left(tmp_path):
    (row,) = rows(probe(tmp_path, 0, 0, 1, 1, "all_cut"))
    assert row["truncated_share"] == 1 and row["mismatch/token_count"] == 0
    assert row["entropy"] is None and row["clip_ratio"] is None


def test_a_pass_without_tokens_does_not_pull_entropy_down(whole, tmp_path):
    (row,) = rows(probe(tmp_path, 0, 0, 1, 1, "half_cut"))
    first_pass = rows(whole)[0]
    assert row["mismatch/token_count"] == first_pass["mismatch/token_count"]
    assert row["entropy"] == pytest.approx(first_pass["entropy"], rel=1e-4)


@pytest.fixture(scope="module")
def cut(tmp_path_factory) -> Path:
    """The same in two segments, watched."""
    folder = tmp_path_factory.mktemp("cut")
    probe(folder, 0, 0, 2, 2, "watched")
    return probe(folder, 0, 2, 4, 2, "watched")


def test_two_segments_give_what_one_gives(whole, cut):
    adapter = "checkpoint-4/adapter_model.safetensors"
    assert (cut / adapter).read_bytes() == (whole / adapter).read_bytes()
    assert rows(cut) == rows(whole)


def test_curves_of_both_segments_are_read_back_from_event_files(cut):
    events = EventAccumulator(str(cut.parent / "results/tiny/watch/tensorboard/float32-seed-0")).Reload()
    for curve, key in (("train/reward", "reward_mean"), ("train/grad_norm", "grad_norm")):
        read = {event.step: event.value for event in events.Scalars(curve)}
        assert read == pytest.approx({row["step"]: row[key] for row in rows(cut)}, rel=1e-6)


def test_nothing_that_writes_curves_is_imported_unless_asked_for(whole):
    assert json.loads((whole.parent / "watchers.json").read_text()) == []


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """The second seed alone."""
    return probe(tmp_path_factory.mktemp("other"), 1, 0, 4, 4)


def drawn(folder: Path) -> list[list]:
    """What tells of each step which tokens were drawn."""
    keys = ("completion_tokens_mean", "unique_token_share", "truncated_share", "mismatch/token_count")
    return [[row[key] for key in keys] for row in rows(folder)]


def assert_same_run(together: Path, alone: Path) -> None:
    assert drawn(together) == drawn(alone)
    for row, own in zip(rows(together), rows(alone), strict=True):
        assert row["verdicts"] == own["verdicts"] and row["reward_mean"] == own["reward_mean"]
        assert row["loss"] == pytest.approx(own["loss"], abs=1e-5)
    weights = [load_file(folder / "checkpoint-4/adapter_model.safetensors") for folder in (together, alone)]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], atol=1e-6, rtol=0)
    assert max(differences(together)) < 1e-5


def facts(folder: Path) -> dict:
    return json.loads((folder / "facts-4.json").read_text())


def test_seeds_that_train_together_are_what_they_are_alone(whole, other, tmp_path):
    probe(tmp_path, "0,1", 0, 4, 4)
    for seed, alone in enumerate((whole, other)):
        assert_same_run(tmp_path / str(seed), alone)
        assert facts(tmp_path / str(seed))["together"] == [0, 1]


def test_seeds_draw_different_completions(whole, other):
    assert drawn(other)[0] != drawn(whole)[0]


def test_runs_that_collapse_or_fail_leave_the_others_what_they_are_alone(whole, other, tmp_path):
    """The failed run's weights are NaN, and a batch is drawn with them before that shows."""
    probe(tmp_path, "0,1,2", 0, 4, 4, "ends")
    assert_same_run(tmp_path / "0", whole)
    ends = [facts(tmp_path / str(seed)) for seed in range(3)]
    assert [end["status"] for end in ends] == ["running", "collapsed", "failed"]
    assert [end["stopped_at"] for end in ends] == [None, 3, 2]
    assert drawn(tmp_path / "1") == drawn(other)[:3] and len(rows(tmp_path / "2")) == 2


@pytest.fixture(scope="module")
def halved(tmp_path_factory) -> Path:
    return probe_in_two_processes(tmp_path_factory.mktemp("halved"), 0, 0, 4, 4)


def assert_same_first_step(both: Path, one: Path) -> None:
    assert drawn(both)[0] == drawn(one)[0]
    both, one = rows(both)[0], rows(one)[0]
    assert both["reward_mean"] == one["reward_mean"] and both["verdicts"] == one["verdicts"]
    for key in ("loss", "entropy", "grad_norm"):
        assert both[key] == pytest.approx(one[key], rel=1e-4, abs=1e-6)


def test_two_processes_share_a_batch(whole, halved):
    assert max(differences(halved)) < 1e-5
    assert_same_first_step(halved, whole)


def test_seeds_in_two_processes_are_what_they_are_alone(halved, other, tmp_path):
    assert_same_run(probe_in_two_processes(tmp_path, "0,1", 0, 4, 4), halved)
    assert_same_first_step(tmp_path / "1", other)
    assert max(differences(tmp_path / "1")) < 1e-5
    assert [facts(tmp_path / seed)["together"] for seed in "01"] == [[0, 1]] * 2
