"""Many programs in a row, and a machine with other things to do."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from processes import children

from arc_precision.sandbox import Limits, Sandbox

GRID = np.arange(6, dtype=np.int8).reshape(2, 3)
N_PROGRAMS = 100_000


def program(i: int) -> str | None:
    """Program i, whose number is in its output, its exception or its message; one in 5,000 never ends."""
    if i % 5000 == 4321:
        return "while True: pass"
    match i % 10:
        case 0:
            return None
        case 1:
            return f"def transform(grid):\n    raise ValueError('{i}')"
        case 2:
            return f"import numpy as np\ndef transform(grid):\n    return np.zeros((40, {i % 30 + 1}))"
        case _:
            return f"def transform(grid):\n    return [[int(digit) for digit in '{i:06d}']]"


def assert_belongs(verdict, i: int) -> None:
    if i % 5000 == 4321:
        assert verdict.status == "timeout"
    elif i % 10 == 0:
        assert verdict.status == "no_program"
    elif i % 10 == 1:
        assert (verdict.status, verdict.message) == ("exception", str(i))
    elif i % 10 == 2:
        assert (verdict.status, verdict.message.split(" cells")[0]) == ("invalid_output", f"40 x {i % 30 + 1}")
    else:
        assert "".join(map(str, verdict.outputs[0][0])) == f"{i:06d}"


def lasting_processes() -> list[int]:
    """This process and the pool's processes without those of programs."""
    [launcher] = children(os.getpid())
    [init] = children(launcher)
    return [os.getpid(), launcher, init, *sorted(children(init))]


def memory_mb(processes: list[int]) -> float:
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in processes)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_a_hundred_thousand_programs_leak_nothing_and_swap_nothing():
    with Sandbox(Limits(cpu_s=0.2), workers=2) as sandbox:
        verdicts = sandbox.run(map(program, range(N_PROGRAMS)), ([GRID] for _ in range(N_PROGRAMS)))
        memory, done = [], 0
        for start in range(0, N_PROGRAMS, 10_000):
            for i, verdict in enumerate(islice(verdicts, 10_000), start):
                assert_belongs(verdict, i)
                done += 1
            processes = lasting_processes()
            memory.append(memory_mb(processes))
            print(f"{done} programs, {memory[-1]:.1f} MB")
        assert next(verdicts, None) is None
        descriptors = len(os.listdir("/proc/self/fd"))
        assert lasting_processes() == processes
    assert done == N_PROGRAMS
    assert max(memory[1:]) < 1.05 * memory[1]
    assert descriptors < 50


BUSY = "while True: pass"
WORK = """
import resource
def transform(grid):
    while sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) < {seconds}:
        pass
    return grid
"""


def test_verdicts_do_not_depend_on_what_else_the_machine_does():
    """Eight processes per core compete, so that half a CPU second takes longer than the wall limit."""
    programs = [WORK.format(seconds=0.5), "1 / 0", "while True: pass", WORK.format(seconds=0.01), None] * 2
    expected = ["ok", "exception", "timeout", "ok", "no_program"] * 2
    with Sandbox(Limits(cpu_s=1.0, wall_s=2.0), workers=2) as sandbox:
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(8 * os.cpu_count())]
        try:
            verdicts = list(sandbox.run(programs, [[GRID]] * len(programs)))
        finally:
            for other in others:
                other.kill()
                other.wait()
    assert [verdict.status for verdict in verdicts] == expected
    assert not any(verdict.rechecked for verdict in verdicts)
