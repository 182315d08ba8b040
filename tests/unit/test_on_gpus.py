"""The GPUs that commands see when several run side by side."""

import os
import subprocess
import sys
from pathlib import Path

WORKFLOW = Path(__file__).parents[2] / "workflow"
SHOW = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); input()"


class Command:
    """A command on `n` GPUs that prints the GPUs it sees and waits for its end."""

    def __init__(self, n: int, visible: str | None, folder: Path, company: str = "shared"):
        env = {**os.environ, "PYTHONPATH": str(WORKFLOW), "TMPDIR": str(folder), "PATH": str(folder)}
        env.pop("CUDA_VISIBLE_DEVICES", None)
        self.process = subprocess.Popen(
            [sys.executable, WORKFLOW / "scripts" / "on_gpus.py", str(n), company, sys.executable, "-c", SHOW],
            env=env if visible is None else {**env, "CUDA_VISIBLE_DEVICES": visible},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def gpus(self) -> list[str]:
        return self.process.stdout.readline().strip().split(",")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_commands_that_share_go_to_the_least_busy_gpus(tmp_path):
    commands = [Command(1, "0,1,2", tmp_path) for _ in range(3)]
    assert sorted(command.gpus()[0] for command in commands) == ["0", "1", "2"]
    pair = Command(2, "0,1,2", tmp_path)
    taken = pair.gpus()
    assert len(set(taken)) == 2
    fifth = Command(1, "0,1,2", tmp_path)
    assert {*taken, *fifth.gpus()} == {"0", "1", "2"}
    for command in (*commands, pair, fifth):
        command.end()


def test_a_command_alone_keeps_others_away_and_waits_for_its_turn(tmp_path):
    alone = Command(1, "0,1", tmp_path, "alone")
    (first,) = alone.gpus()
    sharing = [Command(1, "0,1", tmp_path) for _ in range(2)]
    (other,) = {"0", "1"} - {first}
    assert [command.gpus() for command in sharing] == [[other], [other]]
    waiting = Command(1, "0,1", tmp_path, "alone")
    assert waiting.process.stderr.readline() == "waiting for 1 of GPUs 0, 1\n"
    alone.end()
    assert waiting.gpus() == [first]
    for command in (*sharing, waiting):
        command.end()


def test_a_killed_command_gives_its_gpu_back(tmp_path):
    first, second = (Command(1, "0,1", tmp_path) for _ in range(2))
    gpu, other = first.gpus(), second.gpus()
    first.end()
    third = Command(1, "0,1", tmp_path)
    assert third.gpus() == gpu != other
    second.end()
    third.end()


def test_commands_are_counted_when_they_end_in_another_order(tmp_path):
    commands = [Command(1, "0,1", tmp_path) for _ in range(4)]
    gpus = [command.gpus()[0] for command in commands]
    fifth = Command(1, "0,1", tmp_path)
    (busy,) = fifth.gpus()
    commands[gpus.index(busy)].end()  # the first of three there ends: two are left, and a lower slot is free
    other = [command for command, gpu in zip(commands, gpus, strict=True) if gpu != busy]
    other[0].end()
    sixth = Command(1, "0,1", tmp_path)
    assert sixth.gpus()[0] != busy
    for command in (*commands, fifth, sixth):
        command.end()


def test_the_choice_is_among_what_a_pool_gave(tmp_path):
    first, second = (Command(1, "GPU-4f2a", tmp_path) for _ in range(2))
    assert first.gpus() == second.gpus() == ["GPU-4f2a"]
    elsewhere = Command(1, "GPU-77c1", tmp_path, "alone")
    assert elsewhere.gpus() == ["GPU-77c1"]
    for command in (first, second, elsewhere):
        command.end()


def test_where_nothing_says_which_gpus_there_are_nvidia_smi_does(tmp_path):
    nvidia_smi = tmp_path / "nvidia-smi"
    nvidia_smi.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-4f2a)'\n")
    nvidia_smi.chmod(0o700)
    first = Command(1, None, tmp_path, "alone")
    assert first.gpus() == ["0"]
    second = Command(1, None, tmp_path, "alone")
    assert second.process.stderr.readline() == "waiting for 1 of GPUs 0\n"
    first.end()
    assert second.gpus() == ["0"]
    second.end()


def test_a_machine_without_gpus_is_told_in_a_sentence(tmp_path):
    command = Command(1, None, tmp_path)
    _, error = command.process.communicate()
    assert error == "error: device: cuda, but nvidia-smi shows no GPU on this machine; write device: cpu\n"


def test_too_few_gpus_are_told_in_a_sentence(tmp_path):
    command = Command(2, "GPU-4f2a", tmp_path)
    _, error = command.process.communicate()
    assert command.process.returncode == 1
    assert error == ("error: 2 GPUs are asked for, but 1 can be seen; lower training.processes or resources.*.gpu\n")
