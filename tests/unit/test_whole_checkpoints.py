"""Only a whole checkpoint is accepted: every reader checks it before it starts an engine."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from arc_precision.contracts.whole import DamagedFile
from arc_precision.model.folder import ADAPTER, WHOLE, checkpoint_folders
from arc_precision.training.checkpoint_files import ALWAYS_SAVED, check_checkpoint

ROOT = Path(__file__).parents[2]


CONFIGS = {
    ADAPTER: {"r": 4, "target_modules": ["q_proj"]},
    WHOLE: {"architectures": ["LlamaForCausalLM"]},
}


def make_checkpoint(tmp_path: Path, names: tuple[str, str]) -> Path:
    folder = tmp_path / "checkpoint-10"
    folder.mkdir()
    weights, config = names
    save_file({"a": torch.ones(64, 64)}, folder / weights)
    (folder / config).write_text(json.dumps(CONFIGS[names]))
    with tarfile.open(folder / "trainer_state.tar", "w") as archive:
        for name in ALWAYS_SAVED:
            (tmp_path / name).write_bytes(bytes(5000))
            archive.add(tmp_path / name, name)
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    return make_checkpoint(tmp_path, ADAPTER)


@pytest.mark.parametrize("names", CONFIGS)
def test_a_whole_checkpoint_is_taken(tmp_path, names):
    check_checkpoint(make_checkpoint(tmp_path, names))


FILES = [(names, name) for names in CONFIGS for name in (*names, "trainer_state.tar")]


@pytest.mark.parametrize(("names", "name"), FILES, ids=["/".join((names[0], name)) for names, name in FILES])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_file_that_was_cut_is_named(tmp_path, names, name, share):
    checkpoint = make_checkpoint(tmp_path, names)
    path = checkpoint / name
    whole = path.read_bytes().rstrip(b"\0") if name == "trainer_state.tar" else path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DamagedFile, match=f"{name}: damaged .*; make it again with: snakemake --forcerun {path}"):
        check_checkpoint(checkpoint)


def test_an_archive_cut_between_two_files_is_named(checkpoint):
    path = checkpoint / "trainer_state.tar"
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset])
    with pytest.raises(DamagedFile, match=f"trainer_state.tar: damaged .{last.name} is missing"):
        check_checkpoint(checkpoint)


def test_the_folders_of_several_adapters_are_given_once_each_and_checked(checkpoint, tmp_path):
    other = shutil.copytree(checkpoint, tmp_path / "checkpoint-20")
    files = [folder / name for name in ADAPTER for folder in (checkpoint, other)]
    assert checkpoint_folders(files) == [checkpoint, other] and checkpoint_folders([]) == []
    (other / ADAPTER[0]).write_bytes(b"half")
    with pytest.raises(DamagedFile, match=f"{other / ADAPTER[0]}: damaged"):
        checkpoint_folders(files)


SCRIPTS = ("sample", "audit_draw", "audit_trainer", "audit_sampler")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_that_reads_adapters_checks_them_before_it_starts_an_engine(name):
    text = (ROOT / "workflow" / "scripts" / f"{name}.py").read_text()
    started = min(text.index(word) for word in ("= make_sampler(", "= audit_sampler(", "= Policy(") if word in text)
    assert text.index("checkpoint_folders(args.checkpoints)") < started
