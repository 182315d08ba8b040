import os
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import Trainer, TrainingArguments

from arc_precision.training import watching
from arc_precision.training.watching import reporting

RUN = Path("results/tiny/runs/float16/seed-0")


def test_nothing_is_reported_unless_asked_for():
    before = dict(os.environ)
    assert reporting("none", RUN) == {"report_to": []}
    assert dict(os.environ) == before


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(watching.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="watch: trackio is not installed; write watch: none"):
        reporting("trackio", RUN)


def test_segments_of_a_run_share_one_folder(monkeypatch):
    monkeypatch.setattr(watching.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")
    assert reporting("tensorboard", RUN)["report_to"] == ["tensorboard"]
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "results/tiny/watch/tensorboard/float16-seed-0"


def test_curves_of_tensorboard_are_read_back(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")
    arguments = reporting("tensorboard", tmp_path / "results/tiny/runs/float16/seed-0")
    model = torch.nn.Linear(1, 1)
    model.forward = lambda x: {"loss": (model.weight * x).square().mean()}
    args = TrainingArguments(str(tmp_path), max_steps=2, logging_steps=1, use_cpu=True, save_strategy="no", **arguments)
    Trainer(model, args, train_dataset=[{"x": torch.ones(1)}] * 8).train()
    events = EventAccumulator(str(tmp_path / "results/tiny/watch/tensorboard/float16-seed-0")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2]
