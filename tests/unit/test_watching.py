import os
from pathlib import Path

import pytest

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
