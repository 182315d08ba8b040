"""Which GPUs a command sees when several run side by side."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "on_gpus.py"
SHOW = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); input()"


class Command:
    """A command on `n` GPUs that says which it sees and waits to be ended."""

    def __init__(self, n: int, visible: str, folder: Path):
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, str(n), sys.executable, "-c", SHOW],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": visible, "TMPDIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.gpus = self.process.stdout.readline().strip().split(",")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_each_command_gets_the_least_busy_gpus(tmp_path):
    commands = [Command(1, "0,1,2", tmp_path) for _ in range(3)]
    assert sorted(command.gpus[0] for command in commands) == ["0", "1", "2"]
    pair = Command(2, "0,1,2", tmp_path)
    assert len(set(pair.gpus)) == 2
    free = ({"0", "1", "2"} - set(pair.gpus)).pop()
    fifth = Command(1, "0,1,2", tmp_path)
    assert fifth.gpus == [free]
    for command in (*commands, pair, fifth):
        command.end()


def test_a_killed_command_gives_its_gpu_back(tmp_path):
    first, second = (Command(1, "0,1", tmp_path) for _ in range(2))
    first.end()
    third = Command(1, "0,1", tmp_path)
    assert third.gpus == first.gpus != second.gpus
    second.end()
    third.end()


def test_gpus_that_a_pool_chose_are_kept(tmp_path):
    first, second = (Command(1, "GPU-4f2a", tmp_path) for _ in range(2))
    assert first.gpus == second.gpus == ["GPU-4f2a"]
    first.end()
    second.end()
