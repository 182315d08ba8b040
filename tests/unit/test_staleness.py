"""Dependencies of a stage, found from its imports and the pins."""

import os
from pathlib import Path

import pytest

from arc_precision.staleness.dependencies import Hashes, SourceCode

ROOT = Path(__file__).parents[2]
CPU = ROOT / "envs" / "requirements-cpu.txt"
SOURCE_CODE = SourceCode()


def names(script):
    library = ROOT / "workflow" / "arc_precision"
    files = SOURCE_CODE.files(ROOT / "workflow" / "scripts" / f"{script}.py")
    return {str(file.relative_to(library)) for file in files if file.is_relative_to(library)}


def test_stages_import_their_own_sections_alone():
    train, score, page = names("train"), names("score"), names("report_page")
    assert {"training/segment.py", "config/training.py", "sampling/vllm_sampler.py", "mismatch/metrics.py"} <= train
    assert not {"config/experiment.py", "config/report.py", "config/evaluation.py", "config/resources.py"} & train
    assert "scoring/rewards.py" in score and "config/evaluation.py" in score
    assert not {"sampling/engines.py", "config/training.py", "config/report.py"} & score
    assert not {"scoring/rewards.py", "sampling/engines.py", "config/training.py"} & page


def test_imports_inside_functions_count(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("def main():\n    from arc_precision.config import base\n    import numpy as np\n")
    assert ROOT / "workflow" / "arc_precision" / "config" / "base.py" in SOURCE_CODE.files(script)
    assert {"numpy", "pydantic"} <= SOURCE_CODE.packages(script)


def test_an_edit_changes_one_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from arc_precision import other\n")
    for name in ("__init__.py", "other.py"):
        (tmp_path / name).write_text("import os\n")

    def lines():
        return dict(line.split("=") for line in SourceCode(library=tmp_path).lines(script, tmp_path))

    before = lines()
    script.touch()
    assert lines() == before and before.keys() == {"script.py", "__init__.py", "other.py"}
    (tmp_path / "other.py").write_text("import yaml\n")
    assert lines() == before | {"other.py": lines()["other.py"]} != before


def test_pins_are_those_of_imports_and_one_digest_of_what_they_need(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import yaml, first\n")
    requirements = tmp_path / "requirements.txt"
    text = "first==1.0\npyyaml==6\nsecond==2.0\n    # via first\n"
    text += "third==3\n    # via\n    #   second\n    #   other\nplot==9\n"
    requirements.write_text(text)
    lines = SOURCE_CODE.pin_lines(script, requirements)
    assert lines[:2] == ("first==1.0", "pyyaml==6") and len(lines) == 3

    def with_changed(old, new):
        changed = tmp_path / f"changed-{new}.txt"
        changed.write_text(text.replace(old, new))
        return SOURCE_CODE.pin_lines(script, changed)

    assert with_changed("third==3", "third==4") != lines
    assert with_changed("plot==9", "plot==10") == lines


def test_a_package_without_a_pin_is_a_fault(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import nowhere\n")
    with pytest.raises(ValueError, match="no pin for nowhere"):
        SOURCE_CODE.pin_lines(script, CPU)


@pytest.mark.parametrize("stack", ["cpu", "gpu"])
@pytest.mark.parametrize("script", sorted((ROOT / "workflow").glob("*s/*.py")), ids=lambda path: path.stem)
def test_every_script_has_pins_in_both_stacks(script, stack):
    lines = SOURCE_CODE.pin_lines(script, ROOT / "envs" / f"requirements-{stack}.txt")
    assert all("=" in line for line in lines)


def test_a_big_file_is_hashed_again_only_when_it_may_have_changed(tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    weights.write_bytes(b"one")
    hashes = Hashes(tmp_path / "store.json")
    first = hashes.of(weights)
    reads = []
    monkeypatch.setattr("hashlib.file_digest", lambda *args: reads.append(args))
    assert Hashes(tmp_path / "store.json").of(weights) == first and not reads
    monkeypatch.undo()
    os.utime(weights, (1, 1))
    assert hashes.of(weights) == first
    weights.write_bytes(b"two")
    assert hashes.of(weights) != first


def test_a_store_that_was_cut_is_made_anew(tmp_path):
    weights, store = tmp_path / "weights", tmp_path / "store.json"
    weights.write_bytes(b"one")
    first = Hashes(store).of(weights)
    store.write_text(store.read_text()[:20])
    assert Hashes(store).of(weights) == first
    assert Hashes(store).of(weights) == first


def test_a_module_is_parsed_again_only_when_it_was_edited(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("import numpy\n")
    SourceCode(store=tmp_path / "store.json").files(script)
    monkeypatch.setattr("ast.parse", lambda *_: pytest.fail("parsed again"))
    known = SourceCode(store=tmp_path / "store.json")
    assert known.packages(script) == {"numpy"}
    monkeypatch.undo()
    script.write_text("import yaml\n")
    edited = SourceCode(store=tmp_path / "store.json")
    assert edited.packages(script) == {"yaml"}
