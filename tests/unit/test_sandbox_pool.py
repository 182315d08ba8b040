"""The pool itself: its life and its end."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from processes import assert_gone, below

from arc_precision.sandbox import LEVELS, Limits, Sandbox, SandboxFault, isolation_level, pool, wire

GRID = np.arange(6, dtype=np.int8).reshape(2, 3)
GOOD = "def transform(grid):\n    return grid"
WORKFLOW = Path(pool.__file__).parents[2]


def statuses(sandbox, *programs):
    return [verdict.status for verdict in sandbox.run(programs, [[GRID]] * len(programs))]


def test_nothing_is_left_when_the_pool_closes():
    earlier = below(os.getpid())
    with Sandbox(Limits(), workers=2) as sandbox:
        assert statuses(sandbox, GOOD) == ["ok"]
        processes = below(os.getpid()) - earlier
    assert_gone(processes)


def test_one_pool_serves_many_calls():
    with Sandbox(Limits(), workers=2) as sandbox:
        for _ in range(20):
            assert statuses(sandbox, GOOD, None, "1 / 0") == ["ok", "no_program", "exception"]


def test_pools_do_not_meet():
    with Sandbox(Limits(max_side=2)) as small, Sandbox(Limits()) as large:
        a = small.run([GOOD] * 3, [[GRID]] * 3)
        b = large.run([GOOD] * 3, [[GRID]] * 3)
        assert [(x.status, y.status) for x, y in zip(a, b, strict=True)] == [("invalid_output", "ok")] * 3
        small.close()
        assert statuses(large, GOOD) == ["ok"]


def test_pool_outlives_the_thread_that_made_it():
    made = []
    thread = threading.Thread(target=lambda: made.append(Sandbox(Limits())))
    thread.start()
    thread.join()
    with made[0] as sandbox:
        assert statuses(sandbox, GOOD) == ["ok"]
        time.sleep(0.5)
        assert statuses(sandbox, GOOD) == ["ok"]


CALLER = """
import numpy as np
from arc_precision.sandbox import Limits, Sandbox
sandbox = Sandbox(Limits(cpu_s=60, wall_s=60))
for verdict in sandbox.run(["def transform(grid): return grid", "while True: pass"], [[np.zeros((2, 2))]] * 2):
    print(verdict.status, flush=True)
"""


def test_nothing_is_left_when_the_caller_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", CALLER], env={"PYTHONPATH": str(WORKFLOW)}, stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout.readline() == "ok\n"
        processes = below(caller.pid)
        caller.kill()
    assert_gone(processes)


def test_faults_that_go_on_are_raised_not_scored(monkeypatch):
    def die(self):
        raise ConnectionError
        yield

    with Sandbox(Limits()) as sandbox:
        monkeypatch.setattr(pool._Server, "reports", die)
        with pytest.raises(SandboxFault, match="3 times in a row"):
            statuses(sandbox, GOOD)
        monkeypatch.undo()
        assert statuses(sandbox, GOOD) == ["ok"]


def test_worker_that_is_gone_when_a_job_is_sent_is_replaced(monkeypatch):
    send, sent = pool._Server.send, []

    def fail_once(self, worker, job):
        send(self, worker, job)
        sent.append(job.index)
        if len(sent) == 2:
            raise BrokenPipeError

    monkeypatch.setattr(pool._Server, "send", fail_once)
    with Sandbox(Limits(), workers=2) as sandbox:
        assert statuses(sandbox, GOOD, "1 / 0", GOOD) == ["ok", "exception", "ok"]
    assert sent[:4] == [0, 1, 0, 1]


BIG = f"{GOOD}\n# {'x' * 4_000_000}"  # more than a socket holds: the caller learns of the end when it asks for verdicts


def test_job_that_comes_slowly_is_no_timeout():
    with Sandbox(Limits(wall_s=0.2)) as sandbox:
        verdicts = sandbox.run([GOOD, BIG, "1 / 0"], [[GRID]] * 3)
        assert next(verdicts).status == "ok"
        time.sleep(1.0)
        assert [verdict.status for verdict in verdicts] == ["ok", "exception"]


def test_end_of_a_job_whose_reader_was_killed_is_not_taken_for_a_job():
    earlier = below(os.getpid())
    with Sandbox(Limits()) as sandbox:
        verdicts = sandbox.run([GOOD, BIG, "1 / 0"], [[GRID]] * 3)
        assert next(verdicts).status == "ok"
        time.sleep(0.5)  # until the next process has started to read
        os.kill(max(below(os.getpid()) - earlier), signal.SIGKILL)
        assert [verdict.status for verdict in verdicts] == ["ok", "exception"]


def test_every_signal_that_ends_a_process_has_a_name():
    assert wire.verdict_of_end(signal.SIGSEGV).exception_type == "SIGSEGV"
    assert [wire.verdict_of_end(number).status for number in range(1, 65)] == ["exception"] * 64


def test_server_that_does_not_start_is_a_fault(monkeypatch):
    monkeypatch.setattr(pool.sys, "executable", shutil.which("false"))
    with pytest.raises(SandboxFault, match="could not be started"):
        Sandbox(Limits())


def test_unknown_level_is_refused():
    with pytest.raises(ValueError, match="'docker' is unknown; write one of none, rlimit, seccomp"):
        Sandbox(Limits(), min_level="docker")


def test_workers_are_one_or_more():
    with pytest.raises(ValueError, match="workers is 0"):
        Sandbox(Limits(), workers=0)


def test_level_that_is_offered_is_accepted():
    assert isolation_level() in LEVELS
    with Sandbox(Limits(), min_level=isolation_level()) as sandbox:
        assert sandbox.level == isolation_level()


def test_filter_is_built_for_the_kernels_structure():
    """Eight bytes a step, the last of which refuses."""
    from arc_precision.sandbox.server import isolation

    steps = isolation._filter()
    assert len(steps) % 8 == 0
    assert struct.unpack("<HBBI", steps[-8:]) == (6, 0, 0, 0x50001)
