"""A script that meets a full disk says so in one sentence, in whichever library it happens."""

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from arc_precision.cli import full_disk, run

WORKFLOW = Path(__file__).parents[2] / "workflow"
WRITE = {
    "a file": "open(PATH, 'wb').write(bytes(SIZE))",
    "Arrow": "import pyarrow as pa, pyarrow.parquet as pq\n    pq.write_table(pa.table({'a': os.urandom(SIZE)}), PATH)",
    "JSON": "import json\n    json.dump(['x' * SIZE], open(PATH, 'w'))",
    "safetensors": "import torch, safetensors.torch as s\n    s.save_file({'a': torch.ones(SIZE)}, PATH)",
    "PyTorch": "import torch\n    torch.save(torch.ones(SIZE), PATH)",
}


@pytest.mark.parametrize("body", WRITE.values(), ids=WRITE)
def test_a_disk_that_fills_is_one_sentence(body, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], capture_output=True).returncode:
        pytest.skip("a small disk to fill needs the right to mount one")
    try:
        script = "import os\nfrom arc_precision.cli import run\ndef main():\n    " + body
        script = script.replace("PATH", repr(str(disk / "file"))).replace("SIZE", str(8 << 20)) + "\nrun(main)"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=disk, env={"PYTHONPATH": str(WORKFLOW)}, capture_output=True, text=True
        )
    finally:
        subprocess.run(["umount", disk], check=True)
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("error: no space was left on the disk (") and f" MB free in {disk}" in sentence


def test_other_faults_keep_their_traceback():
    def main():
        raise KeyError("a fault of the program")

    with pytest.raises(KeyError):
        run(main)


def test_a_quota_is_told_by_what_was_said(monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10 << 30))
    assert full_disk(RuntimeError("a fault of the program")) is None
    assert "10240 MB free" in full_disk(OSError(122, "Disk quota exceeded"))
