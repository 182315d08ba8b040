"""The pool under faults, and on machines that offer less isolation than this one."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from processes import assert_gone, below, children, is_alive

from arc_precision.sandbox import Limits, Sandbox, SandboxFault, isolation_level, pool

GRID = np.arange(6, dtype=np.int8).reshape(2, 3)
WORKFLOW = Path(pool.__file__).parents[2]

# These remove layers one by one from a machine that has them all; each names the level that remains.
needs_everything = pytest.mark.skipif(
    isolation_level() != "full",
    reason=f"takes layers away from a machine that offers all; this one offers only {isolation_level()!r}",
)


CALLER = """
import os, sys, time
import numpy as np
from arc_precision.sandbox import Limits, Sandbox
sandbox = Sandbox(Limits(cpu_s=60, wall_s=60))
if sys.argv[1] == "fork" and os.fork() == 0:
    time.sleep(60)
programs = ["def transform(grid): return grid", "while True: pass"]
for verdict in sandbox.run(programs, [[np.zeros((2, 2))]] * 2):
    print(verdict.status, flush=True)
    if sys.argv[1] == "exit":
        sys.stdin.readline()
        sys.exit()
"""


@pytest.mark.parametrize("end", ["fork", "exit"])
def test_nothing_is_left_when_the_caller_ends(end):
    """The caller is killed while a process that it forked keeps its sockets open, or ends without closing the pool."""
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, end], env={"PYTHONPATH": str(WORKFLOW)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as caller:  # fmt: skip
        assert caller.stdout.readline() == "ok\n"
        processes = below(caller.pid)
        forked = {pid for pid in processes if b"import os, sys" in Path(f"/proc/{pid}/cmdline").read_bytes()}
        if end == "fork":
            caller.kill()
        else:
            print(file=caller.stdin, flush=True)
        assert_gone(processes - forked)
        assert len(forked) == (end == "fork")
        for pid in forked:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["launcher", "init", "first worker", "second worker"])
def test_pool_survives_the_death_of_its_processes(victim):
    programs = [f"def transform(grid):\n    return [[{i % 10}]]" for i in range(60)]
    with Sandbox(Limits(), workers=2) as sandbox:
        results = sandbox.run(programs, [[GRID]] * 60)
        outputs = [next(results).outputs[0].item()]
        [launcher] = children(os.getpid())
        [init] = children(launcher)
        first, second = sorted(children(init))
        os.kill({"launcher": launcher, "init": init, "first worker": first, "second worker": second}[victim], 9)
        outputs += [verdict.outputs[0].item() for verdict in results]
        assert outputs == [i % 10 for i in range(60)]
        assert_gone({launcher, init, first, second})


def busy_program() -> int:
    """Wait for the process of a program that has computed for a while."""
    while True:
        for pid in below(os.getpid()):
            try:
                user_ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11])
                if user_ticks > 30 and not children(pid):
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                continue
        time.sleep(0.02)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@pytest.mark.parametrize(
    ("grown", "expected"),
    [("", ("exception", "SIGKILL")), ("x = b'x' * (40 << 20)\n", ("memory", None))],
    ids=["small", "large"],
)
def test_program_that_is_killed_each_time_gets_a_verdict_by_its_size(grown, expected):
    """This happens in a job with less memory than the limit. It is no fault of the sandbox, which would end the run."""

    def kill_all():
        for _ in range(3):
            victim = busy_program()
            os.kill(victim, signal.SIGKILL)
            while is_alive(victim):
                time.sleep(0.02)

    with Sandbox(Limits(cpu_s=5.0)) as sandbox:
        killer = threading.Thread(target=kill_all)
        killer.start()
        [verdict] = sandbox.run([grown + "while True: pass"], [[GRID]])
        killer.join()
        assert [v.status for v in sandbox.run(["def transform(grid):\n    return grid"], [[GRID]])] == ["ok"]
    assert (verdict.status, verdict.exception_type, verdict.rechecked) == (*expected, True)


GOOD = "def transform(grid):\n    return grid"


def forked_by_worker(sandbox: Sandbox) -> list[int]:
    """The zygote of a pool's only worker, and the process that waits for a job.

    Programs run until both are there: a pool whose worker has died is replaced when it is next used.
    """
    while True:
        assert [verdict.status for verdict in sandbox.run([GOOD], [[GRID]])] == ["ok"]
        try:
            [launcher] = children(os.getpid())
            [init] = children(launcher)
            [worker] = children(init)
            [_, _] = pids = children(worker)
            return pids
        except (ValueError, FileNotFoundError):
            time.sleep(0.02)


@pytest.mark.parametrize("victim", ["the one that waits for a job", "the one that forks them"])
def test_killed_before_a_job_comes_is_no_ones_verdict(victim):
    """The kernel may choose such a process when memory runs out. The first is replaced; with the second its worker
    is."""
    with Sandbox(Limits()) as sandbox:
        for _ in range(4):
            zygote, waiting = forked_by_worker(sandbox)
            os.kill(zygote if victim.endswith("forks them") else waiting, signal.SIGKILL)


def test_program_killed_from_outside_runs_again_alone():
    with Sandbox(Limits(cpu_s=2.0)) as sandbox:
        killer = threading.Thread(target=lambda: os.kill(busy_program(), signal.SIGKILL))
        killer.start()
        [verdict] = sandbox.run(["while True: pass"], [[GRID]])
        killer.join()
    assert (verdict.status, verdict.rechecked) == ("timeout", True)


def test_program_whose_worker_dies_again_and_again_is_a_fault():
    """Even while other programs get their verdicts."""

    def kill_workers():
        for _ in range(3):
            worker = parent(busy_program())
            os.kill(worker, signal.SIGKILL)
            while is_alive(worker):
                time.sleep(0.02)

    good = "def transform(grid):\n    return grid"
    with Sandbox(Limits(cpu_s=20.0), workers=2) as sandbox:
        killer = threading.Thread(target=kill_workers)
        killer.start()
        with pytest.raises(SandboxFault, match="3 times"):
            list(sandbox.run(["while True: pass"] + [good] * 100, [[GRID]] * 101))
        killer.join()
        assert [verdict.status for verdict in sandbox.run([good], [[GRID]])] == ["ok"]


# On a lesser machine: a filter of system calls stands in for a kernel that lacks a layer.

LESSER = """
import ctypes, struct, sys
import numpy as np

def without(calls):
    steps = [struct.pack("<HBBI", 0x20, 0, 0, 0)]
    for call in calls:
        steps += [struct.pack("<HBBI", 0x15, 0, 1, call), struct.pack("<HBBI", 6, 0, 0, 0x50001)]
    steps = b"".join([*steps, struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000)])
    class Program(ctypes.Structure):
        _fields_ = [("steps", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.syscall(317, 1, 0, ctypes.byref(Program(len(steps) // 8, steps))) == 0

without([int(call) for call in sys.argv[1].split(",") if call])

from arc_precision.sandbox import Limits, Sandbox
try:
    Sandbox(Limits(), min_level="full")
except ValueError as error:
    print(error)
good = "def transform(grid): return grid"
programs = [
    good, "while True: pass", "x = bytearray(1 << 30)", "1 / 0", "import os\\nos.fork()", "open('/etc/passwd')",
    "import time\\ntime.sleep(9)", "import os\\nos.kill(os.getpid(), 9)", good,
    "import ctypes\\nlibc = ctypes.CDLL(None)\\nlibc.kill(libc.getpid(), 9)\\n" + good,
    "import ctypes, resource\\nfor i in range(1, 31):\\n    ctypes.CDLL(None).poll(None, 0, 100)\\n"
    "    while sum(resource.getrusage(0)[:2]) < 0.003 * i: pass\\n" + good,
]
with Sandbox(Limits(cpu_s=0.2, wall_s=0.5, memory_mb=256)) as sandbox:
    print(sandbox.level)
    print(*(verdict.status for verdict in sandbox.run(programs, [[np.zeros((2, 2))]] * len(programs))))
"""
UNSHARE, SECCOMP, LANDLOCK = 272, 317, 444
USUAL = "ok timeout memory exception forbidden forbidden timeout forbidden ok ok ok"


def on_lesser_machine(*missing: int, prefix: tuple[str, ...] = ()) -> tuple[str, str, str]:
    calls = ",".join(map(str, missing))
    done = subprocess.run(
        [*prefix, sys.executable, "-c", LESSER, calls], env={"PYTHONPATH": str(WORKFLOW)}, text=True, check=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    *refusal, level, verdicts = done.stdout.strip().split("\n")
    return "".join(refusal), level, verdicts


@needs_everything
@pytest.mark.parametrize(
    ("missing", "expected"),
    [((UNSHARE,), "landlock"), ((LANDLOCK,), "namespaces"), ((UNSHARE, LANDLOCK), "seccomp")],
)
def test_verdicts_are_the_same_at_every_level_that_filters_system_calls(missing, expected):
    refusal, level, verdicts = on_lesser_machine(*missing)
    assert (level, verdicts) == (expected, USUAL)
    assert "'full' cannot be had" in refusal and repr(expected) in refusal


@needs_everything
def test_without_a_filter_limits_still_hold():
    """But a program can read files, kill itself, and really sleep, up to the wall limit in all."""
    _, level, verdicts = on_lesser_machine(UNSHARE, LANDLOCK, SECCOMP)
    assert level == "rlimit"
    assert verdicts == "ok timeout memory exception exception exception timeout exception ok exception timeout"


@needs_everything
@pytest.mark.parametrize(
    ("options", "expected"),
    [(["--map-user=65534"], "landlock"), (["--map-user=65534", "--map-group=65534"], "full")],
    ids=["without a group", "with a group"],
)
def test_callers_in_user_namespaces(options, expected):
    """Some pools run every job as nobody. Without a group of its own the kernel allows the job no further namespace."""
    _, level, verdicts = on_lesser_machine(prefix=("unshare", "--user", *options))
    assert (level, verdicts) == (expected, USUAL)
