"""Programs that attack: each promise of docs/sandbox.md has a program that would break it.

After every test the pool still works, and no process but its own is left.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from arc_precision.sandbox import LEVELS, Limits, Sandbox, isolation_level

pytestmark = pytest.mark.skipif(
    LEVELS.index(isolation_level()) < LEVELS.index("seccomp"), reason="this machine does not filter system calls"
)

GRID = np.arange(6, dtype=np.int8).reshape(2, 3)
GOOD = "def transform(grid):\n    return grid"


def tree() -> list[int]:
    """All processes below this one."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, todo = [], [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


OTHERS: set[int] = set()  # below this process before the pool started, such as resource trackers of other tests


def settled_tree() -> set[int]:
    """Only launcher, init, worker, zygote, and the process that waits for the next job are left."""
    for _ in range(200):  # a process that has just ended may still be listed
        if len(processes := set(tree()) - OTHERS) == 5:
            break
        time.sleep(0.05)
    assert len(processes) == 5, "processes were left behind, or have died"
    return processes


@pytest.fixture(scope="module")
def pool():
    OTHERS.update(tree())
    with Sandbox(Limits(cpu_s=0.2, wall_s=0.5, memory_mb=128), workers=1) as sandbox:
        list(sandbox.run([GOOD], [[GRID]]))
        yield sandbox


@pytest.fixture
def sandbox(pool, tmp_path):
    """The pool, and the conditions that must hold after an attack."""
    tmp_path.chmod(0o777)
    before = settled_tree()
    yield pool
    [verdict] = pool.run([GOOD], [[GRID]])
    assert verdict.status == "ok"
    np.testing.assert_array_equal(verdict.outputs[0], GRID)
    assert len(before - settled_tree()) <= 1, "more than the process that waited for a job has died"
    assert not list(tmp_path.iterdir()), "a file was left behind"


def verdict_of(sandbox, program, grids=(GRID,)):
    [verdict] = sandbox.run([program], [grids])
    return verdict


def run(sandbox, body: str, **values) -> tuple[str, str | None]:
    """Status and exception type of a program whose transform is `body`; names in capitals stand for `values`."""
    for name, value in values.items():
        body = body.replace(name, repr(str(value)))
    program = "import os, sys, ctypes, numpy as np\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    program += "def transform(grid):\n" + "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
    verdict = verdict_of(sandbox, program)
    return verdict.status, verdict.exception_type


FORBIDDEN = ("forbidden", "PermissionError")


# Processes and threads


def test_fork(sandbox):
    assert run(sandbox, "os.fork()") == FORBIDDEN


def test_fork_bomb(sandbox):
    bomb = "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    assert run(sandbox, bomb) == ("timeout", None)


def test_fork_by_the_very_call_the_worker_uses(sandbox):
    body = "assert libc.syscall(56, 0x1000 | 17, None, ctypes.byref(ctypes.c_int()), None, None) == -1\nreturn grid"
    assert run(sandbox, body) == ("ok", None)


def test_fork_by_any_other_call(sandbox):
    body = "for call in (56, 57, 58, 435):\n    assert libc.syscall(call, 17, None, None, 0, 0) == -1\nreturn grid"
    assert run(sandbox, body) == ("ok", None)


def test_executing_another_program(sandbox):
    assert run(sandbox, "os.execv('/bin/sh', ['sh', '-c', 'true'])") == FORBIDDEN


def test_shell(sandbox, tmp_path):
    assert run(sandbox, "os.system('touch ' + HERE)\nreturn grid", HERE=tmp_path / "x") == ("ok", None)


def test_spawn(sandbox):
    assert run(sandbox, "os.posix_spawn('/bin/sh', ['sh'], {})") == FORBIDDEN


def test_thread_left_running(sandbox):
    body = "import threading, itertools\nthreading.Thread(target=sum, args=(itertools.count(),)).start()\nreturn grid"
    assert run(sandbox, body) == ("exception", "RuntimeError")


# Signals


@pytest.mark.parametrize("target", ["os.getppid()", "os.getpid()", "1", "-1", "0"])
def test_signals_to_processes(sandbox, target):
    assert run(sandbox, f"os.kill({target}, 9)") == FORBIDDEN


def test_signals_by_other_calls(sandbox):
    body = """
for call, arguments in ((62, (1, 9)), (200, (1, 9)), (234, (1, 1, 9)), (129, (1, 9, 0)), (434, (1, 0))):
    assert libc.syscall(call, *arguments) == -1
for pidfd in range(16):
    assert libc.syscall(424, pidfd, 9, None, 0) == -1
return grid"""
    assert run(sandbox, body) == ("ok", None)


def test_signal_handlers_do_not_save_a_loop(sandbox):
    body = """
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, lambda *_: None)
while True:
    pass"""
    assert run(sandbox, body) == ("timeout", None)


def test_timers_of_its_own(sandbox):
    body = "assert libc.timer_create(0, None, ctypes.byref(ctypes.c_void_p())) == -1\nimport signal\n"
    assert run(sandbox, body + "signal.setitimer(signal.ITIMER_REAL, 1)") == ("exception", "itimer_error")


# Time


def test_endless_loop_in_c(sandbox):
    assert run(sandbox, "import itertools\nsum(itertools.count())") == ("timeout", None)


def test_huge_integers(sandbox):
    assert run(sandbox, "return 9 ** 9 ** 9") == ("timeout", None)


def test_swallowing_every_exception(sandbox):
    body = "while True:\n    try:\n        while True: pass\n    except BaseException:\n        pass"
    assert run(sandbox, body) == ("timeout", None)


def test_loop_while_importing(sandbox):
    assert verdict_of(sandbox, "while True: pass").status == "timeout"


def test_sleep(sandbox):
    assert run(sandbox, "import time\ntime.sleep(10 ** 6)") == ("timeout", None)


def test_waiting_for_nothing(sandbox):
    assert run(sandbox, "import select\nselect.poll().poll()") == ("timeout", None)


def test_deadlock_with_itself(sandbox):
    body = "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()"
    assert run(sandbox, body) == ("timeout", None)


def test_raising_its_own_limits(sandbox):
    body = "import resource\nfor kind in (resource.RLIMIT_AS, resource.RLIMIT_NPROC):\n    try:\n"
    body += "        resource.setrlimit(kind, (-1, -1))\n    except (OSError, ValueError):\n        continue\n"
    body += "    return None\nos.fork()"
    assert run(sandbox, body) == FORBIDDEN


def test_having_the_kernel_kill_it(sandbox):
    """With a limit on its own CPU time a program would look as if it had been killed from outside."""
    body = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (0, 0))"
    assert run(sandbox, body) == ("exception", "ValueError")
    assert run(sandbox, "assert libc.syscall(160, 0, (ctypes.c_long * 2)()) == -1\nreturn grid") == ("ok", None)


def test_outliving_its_worker(sandbox):
    assert run(sandbox, "assert libc.prctl(1, 0, 0, 0, 0) == -1\nreturn grid") == ("ok", None)


def test_lowering_the_limits_of_others(sandbox):
    body = "import resource\nfor pid in (1, os.getppid()):\n    resource.prlimit(pid, resource.RLIMIT_CPU, (0, 0))"
    assert run(sandbox, body) == FORBIDDEN


def test_moving_others_to_another_core(sandbox):
    body = "for pid in (1, os.getppid()):\n    os.sched_setaffinity(pid, {0})"
    assert run(sandbox, body) == FORBIDDEN


# Memory and the stack


def test_memory_bomb(sandbox):
    assert run(sandbox, "x = [0]\nwhile True:\n    x += x") == ("memory", "MemoryError")


def test_memory_bomb_by_numpy(sandbox):
    status, name = run(sandbox, "return np.ones((1 << 15, 1 << 15))")
    assert (status, "MemoryError" in name) == ("memory", True)


def test_memory_bomb_that_holds_on_to_everything(sandbox):
    body = "x = []\nwhile True:\n    try:\n        x.append(bytearray(1 << 20))\n    except MemoryError:\n        pass"
    assert run(sandbox, body)[0] in ("timeout", "memory")


def test_anonymous_shared_memory(sandbox):
    assert run(sandbox, "import mmap\nmmap.mmap(-1, 1 << 30)")[0] in ("exception", "memory")


def test_memory_files(sandbox):
    assert run(sandbox, "os.memfd_create('x')") == FORBIDDEN


def test_deep_recursion(sandbox):
    assert run(sandbox, "return transform(grid)") == ("exception", "RecursionError")


def test_deep_recursion_without_a_limit(sandbox):
    status, _ = run(sandbox, "sys.setrecursionlimit(10 ** 9)\nreturn transform(grid)")
    assert status in ("memory", "timeout", "exception")


def test_overflow_of_the_c_stack(sandbox):
    body = """
sys.setrecursionlimit(10 ** 9)
nested = ()
for _ in range(300_000):
    nested = (nested,)
hash(nested)"""
    assert run(sandbox, body) == ("exception", "SIGSEGV")


def test_crashes_reach_no_collector_of_dumps(sandbox):
    """With a limit of 0 they would reach the machine's collector."""
    body = "limits = (ctypes.c_ulong * 2)()\nassert (libc.syscall(97, 4, limits), *limits) == (0, 1, 1)\nreturn grid"
    assert run(sandbox, body) == ("ok", None)


def test_a_caller_who_may_dump_no_core_has_a_sandbox_all_the_same():
    """An HTCondor job is such a caller."""
    probe = (
        "import resource, numpy as np; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
        "from arc_precision.sandbox import Limits, Sandbox\n"
        "with Sandbox(Limits()) as sandbox:\n"
        "    (verdict,) = sandbox.run(['def transform(grid):\\n    return grid\\n'], [[np.zeros((1, 1), np.int8)]])\n"
        "assert verdict.status == 'ok', verdict"
    )
    # Without the capability that raises limits, as a job has none.
    command = ["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-all"] if os.geteuid() == 0 else []
    subprocess.run([*command, sys.executable, "-c", probe], check=True)


def test_crash(sandbox):
    assert run(sandbox, "ctypes.string_at(0)") == ("exception", "SIGSEGV")


# Files


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/proc/self/environ", "/proc/1/cmdline", "/proc/self/mem", "/dev/zero", "/", "numpy"]
)
def test_reading_files(sandbox, path):
    path = np.__file__ if path == "numpy" else path
    assert run(sandbox, "os.open(PATH, os.O_RDONLY)", PATH=path) == FORBIDDEN


def test_listing_directories(sandbox):
    assert run(sandbox, "os.listdir('/')") == FORBIDDEN


@pytest.mark.parametrize("directory", ["tmp_path", "/tmp", "/dev/shm", "~", "."])
def test_writing_files(sandbox, tmp_path, directory):
    directory = tmp_path if directory == "tmp_path" else Path(directory).expanduser()
    target = directory / "sandbox-escape"
    assert run(sandbox, "open(TARGET, 'w')", TARGET=target) == FORBIDDEN
    assert not target.exists()


@pytest.mark.parametrize(
    "call",
    ["os.remove(P)", "os.rename(P, P + 'x')", "os.chmod(P, 0)", "os.truncate(P, 0)", "os.link(P, P + 'x')",
     "os.symlink(P, P + 'x')", "os.mkdir(P + 'x')", "os.utime(P)", "os.chown(P, 0, 0)", "os.mkfifo(P + 'x')"],
)  # fmt: skip
def test_changing_files(sandbox, tmp_path_factory, call):
    directory = tmp_path_factory.mktemp("files")
    directory.chmod(0o777)
    file = directory / "file"
    file.write_text("kept")
    file.chmod(0o666)
    before = file.stat()
    assert run(sandbox, call, P=file) == FORBIDDEN
    assert [entry.name for entry in directory.iterdir()] == ["file"]
    assert file.stat() == before and file.read_text() == "kept"


def test_ten_gigabytes_of_output(sandbox):
    body = "line = 'x' * 10_000_000\nfor _ in range(1000):\n    print(line)\n    os.write(2, b'x')\nreturn grid"
    assert run(sandbox, body)[0] in ("ok", "timeout")


def test_closing_every_descriptor(sandbox):
    assert run(sandbox, "os.closerange(0, 1000)\nreturn grid") == ("ok", None)


def test_flooding_descriptors(sandbox):
    assert run(sandbox, "while True:\n    os.dup(0)") == FORBIDDEN
    assert run(sandbox, "while True:\n    os.pipe()") == FORBIDDEN


def test_only_the_null_device_is_open(sandbox):
    body = """
def is_open(fd):
    return libc.write(fd, None, 0) == 0
assert [fd for fd in range(2000) if is_open(fd)] == [0, 1, 2]
assert os.read(0, 100) == b""
return grid"""
    assert run(sandbox, body) == ("ok", None)


# The network and the rest of the kernel


def test_network(sandbox):
    body = "for family in (1, 2, 10, 16, 17):\n    assert libc.socket(family, 1, 0) == -1\nimport socket"
    assert run(sandbox, body) == ("exception", "ModuleNotFoundError")


def test_network_by_what_python_has_built_in(sandbox):
    assert run(sandbox, "import _socket\n_socket.socket().connect(('127.0.0.1', 80))")[0] in ("forbidden", "exception")


SYSTEM_CALLS = {
    "open": 2, "stat": 4, "ioctl": 16, "pipe": 22, "shmget": 29, "pause": 34, "nanosleep": 35, "socketpair": 53,
    "fcntl": 72, "chdir": 80, "ptrace": 101, "setuid": 105, "setsid": 112, "personality": 135, "mlock": 149,
    "arch_prctl": 158, "chroot": 161, "mount": 165, "swapon": 167, "init_module": 175, "io_setup": 206,
    "timer_create": 222, "mbind": 237, "mq_open": 240, "kexec_load": 246, "add_key": 248, "inotify_init": 253,
    "openat": 257, "unshare": 272, "splice": 275, "vmsplice": 278, "signalfd": 282, "timerfd_create": 283,
    "eventfd": 284, "epoll_create1": 291, "perf_event_open": 298, "name_to_handle_at": 303, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "getrandom": 318, "bpf": 321, "userfaultfd": 323,
    "pkey_mprotect": 329, "io_uring_setup": 425, "open_tree": 428, "fsopen": 430, "pidfd_open": 434,
    "pidfd_getfd": 438, "openat2": 437, "process_madvise": 440, "memfd_secret": 447, "landlock_restrict_self": 446,
    "openat of the x32 interface": 257 | 0x40000000, "one that does not exist": 9999,
}  # fmt: skip


@pytest.mark.parametrize("number", SYSTEM_CALLS.values(), ids=SYSTEM_CALLS)
def test_system_calls_beyond_computing(sandbox, number):
    body = f"assert libc.syscall({number}, 0, 0, 0, 0, 0, 0) == -1\nassert ctypes.get_errno() == 1\nreturn grid"
    assert run(sandbox, body) == ("ok", None)


def test_memory_that_can_be_executed(sandbox):
    body = """
libc.mmap.restype = ctypes.c_void_p
assert libc.mmap(None, 4096, 7, 0x22, -1, 0) == ctypes.c_void_p(-1).value
memory = libc.mmap(None, 4096, 3, 0x22, -1, 0)
assert libc.mprotect(ctypes.c_void_p(memory), 4096, 5) == -1
return grid"""
    assert run(sandbox, body) == ("ok", None)


def test_other_user(sandbox):
    assert run(sandbox, "os.setuid(0)") == FORBIDDEN


def test_programs_run_as_nobody(sandbox):
    body = "assert os.getuid() == os.geteuid() == 65534 == os.getgid()\nreturn grid"
    assert run(sandbox, body) == ("ok", None)


# Information that a program may have


def test_secrets_of_the_environment():
    os.environ["SANDBOX_TEST_SECRET"] = "open sesame"
    try:
        with Sandbox(Limits()) as fresh:
            program = "import os\ndef transform(grid):\n    raise ValueError(sorted(os.environ))"
            verdict = verdict_of(fresh, program)
    finally:
        del os.environ["SANDBOX_TEST_SECRET"]
    assert verdict.exception_type == "ValueError"
    assert "SECRET" not in verdict.message and "PATH" not in verdict.message and "HOME" not in verdict.message


def test_the_answer_is_not_there(sandbox):
    """The child gets only inputs: no other array of an input's shape is in its memory."""
    program = """
import gc, sys
import numpy as np

def transform(grid):
    found, frame = [], sys._getframe(1)
    while frame is not None:
        found += frame.f_locals.values()
        frame = frame.f_back
    found += gc.get_objects()
    flat = [y for x in found for y in (x if isinstance(x, (list, tuple)) else [x])]
    others = [x for x in flat if isinstance(x, np.ndarray) and x.shape == (7, 5) and not np.array_equal(x, grid)]
    assert any(x is grid for x in flat) and not others
    return grid
"""
    grid = np.full((7, 5), 3, np.int8)
    answer = np.full((7, 5), 4, np.int8)
    verdict = verdict_of(sandbox, program, [grid])
    assert verdict.status == "ok", verdict
    assert not np.array_equal(verdict.outputs[0], answer)


def test_other_programs_are_not_in_memory(sandbox):
    """They are neither in a variable of the code that runs programs nor in freed memory of the heap."""
    neighbor = "# " + "tarantella " * 300 + "\n" + GOOD
    spy = """
import ctypes, sys
libc = ctypes.CDLL(None)
libc.sbrk.restype = ctypes.c_void_p
def is_mapped(address):
    return libc.syscall(14, 0, ctypes.c_void_p(address), None, 8) == 0  # rt_sigprocmask reads there
def transform(grid):
    word, frame = "taran" + "tella", sys._getframe(1)
    while frame is not None:
        assert not any(word in str(value) for value in frame.f_locals.values() if isinstance(value, (str, bytes)))
        frame = frame.f_back
    start = end = libc.sbrk(0)
    while is_mapped(start - 4096):
        start -= 4096
    heap = ctypes.string_at(start, end - start)
    assert len(heap) > 1 << 20 and b"rehearse" in heap and word.encode() not in heap
    return grid
"""
    verdicts = list(sandbox.run([neighbor, spy, neighbor, spy], [[GRID]] * 4))
    assert [verdict.status for verdict in verdicts] == ["ok"] * 4, verdicts


FIND_AREA = "import os, sys\narea = sys.modules['program']._area\n"  # where records are left


def test_notes_for_the_next_program_are_wiped(sandbox):
    writer = FIND_AREA + "area[500_000:500_010] = b'tarantella'\nassert any(area)\n" + GOOD
    reader = FIND_AREA + "assert not any(area[500_000:500_010])\n" + GOOD
    verdicts = list(sandbox.run([writer, reader], [[GRID]] * 2))
    assert [verdict.status for verdict in verdicts] == ["ok"] * 2, verdicts


# Forged results


def test_leaving_early(sandbox):
    verdict = verdict_of(sandbox, "import os\ndef transform(grid):\n    os._exit(0)")
    assert (verdict.status, verdict.exception_type, verdict.outputs) == ("exception", "SystemExit", None)


FORGED = {
    "text": b"garbage",
    "ones": b"\xff" * 1000,
    "zeros": bytes(1000),
    "ok without grids": bytes(11),
    "unknown status": b"\x07" + bytes(10),
    "ok with a grid that is cut off": bytes(9) + b"\x01\x00",
    "ok with a color too many": bytes(9) + b"\x01\x00" + b"\x01\x00\x01\x00" + b"\x0a",
    "ok with too large a grid": bytes(9) + b"\x01\x00" + b"\x1f\x00\x01\x00" + bytes(31),
    "ok with one grid too many": bytes(9) + b"\x02\x00" + 2 * b"\x01\x00\x01\x00\x01",
    "exception with grids": b"\x02" + bytes(8) + b"\x01\x00" + b"\x01\x00\x01\x00\x01",
    "exception with a type too long": b"\x02" + bytes(4) + b"\x65\x00\x00\x00\x00\x00" + b"x" * 0x65,
    "exception with a message too long": b"\x02" + bytes(6) + b"\xf5\x01\x00\x00" + b"x" * 0x1F5,
}


@pytest.mark.parametrize("record", FORGED.values(), ids=FORGED)
def test_forged_record(sandbox, record):
    program = f"{FIND_AREA}record = {record!r}\narea[4 : 4 + len(record)] = record\n"
    program += "area[:4] = len(record).to_bytes(4, 'little')\nos._exit(0)"
    verdict = verdict_of(sandbox, program)
    assert (verdict.status, verdict.outputs) == ("invalid_output", None)
    assert "not a result" in verdict.message


def test_forged_length(sandbox):
    verdict = verdict_of(sandbox, FIND_AREA + "area[:4] = b'\\xff' * 4\nos._exit(0)")
    assert (verdict.status, verdict.exception_type) == ("exception", "SystemExit")


def test_erased_record(sandbox):
    program = FIND_AREA + "sys.modules['program'].leave = lambda body: area.close()\n" + GOOD
    verdict = verdict_of(sandbox, program)
    assert (verdict.status, verdict.exception_type) == ("exception", "SystemExit")


def test_checks_replaced_by_the_program(sandbox):
    program = """
import sys
import numpy as np
sys.modules["program"].checked_output = lambda output, max_side: output.astype(np.int8)
def transform(grid):
    return np.full((40, 40), 77)
"""
    verdict = verdict_of(sandbox, program)
    assert (verdict.status, verdict.outputs) == ("invalid_output", None)


def test_infrastructure_faults_cannot_be_claimed(sandbox):
    program = """
import sys
sys.modules["protocol"].RECORD_STATUSES = ("sandbox_error",) * 10
def transform(grid):
    return None
"""
    assert verdict_of(sandbox, program).status != "sandbox_error"


def test_pretending_not_to_have_started(sandbox):
    program = "import os\nfor fd in range(3, 100):\n    try: os.read(fd, 1)\n    except OSError: pass\n" + GOOD
    assert verdict_of(sandbox, program).status == "ok"


def test_numpy_and_builtins_replaced_by_the_program(sandbox):
    program = """
import builtins, sys
import numpy as np
np.array = np.array_equal = np.ndarray.astype = np.asarray = lambda *_, **__: True
builtins.len = builtins.isinstance = builtins.min = builtins.max = lambda *_: 1
sys.modules["numpy"] = sys.modules["os"] = sys.modules["struct"] = None
def transform(grid):
    return 5
"""
    assert verdict_of(sandbox, program).status in ("exception", "invalid_output")


@pytest.mark.parametrize(
    ("method", "statuses"),
    [
        ("def __array__(self, *_, **__):\n        while True: pass", ("timeout",)),
        ("def __array__(self, *_, **__):\n        return np.full((2, 2), 77)", ("invalid_output",)),
        ("def __array__(self, *_, **__):\n        raise SystemExit", ("exception",)),
        ("def __len__(self):\n        while True: pass\n    __getitem__ = None", ("timeout", "invalid_output")),
        ("def __iter__(self):\n        while True: yield 1", ("timeout", "invalid_output", "memory")),
        ("def __eq__(self, other):\n        while True: pass", ("invalid_output",)),
        ("def __int__(self):\n        while True: pass", ("timeout",)),
    ],
    ids=["endless __array__", "wrong __array__", "leaving __array__", "__len__", "__iter__", "__eq__", "__int__"],
)
def test_outputs_with_methods_of_their_own(sandbox, method, statuses):
    program = f"import numpy as np\nclass Odd:\n    {method}\ndef transform(grid):\n    return Odd()"
    assert verdict_of(sandbox, program).status in statuses


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("def __str__(self):\n        while True: pass", "timeout"),
        ("def __str__(self):\n        raise SystemExit", "exception"),
        ("def __str__(self):\n        return 'x' * 10 ** 7", "exception"),
        ("def __str__(self):\n        return chr(0xd800)", "exception"),
        ("__traceback__ = property(lambda self: 1 / 0)", "exception"),
    ],
)
def test_exceptions_with_methods_of_their_own(sandbox, body, status):
    verdict = verdict_of(sandbox, f"class Odd(Exception):\n    {body}\ndef transform(grid):\n    raise Odd('x')")
    assert verdict.status == status
    assert len(verdict.message or "") <= 500


def test_exceptions_with_names_of_their_own(sandbox):
    program = "def transform(grid):\n    raise type('x' * 10 ** 6, (Exception,), {})('y' * 10 ** 6)"
    verdict = verdict_of(sandbox, program)
    assert verdict.status == "exception"
    assert set(verdict.exception_type) == {"x"} and len(verdict.exception_type) <= 100
    assert set(verdict.message) == {"y"} and len(verdict.message) <= 500


def test_what_a_program_changes_is_gone_with_it(sandbox):
    vandal = """
import sys, builtins, random, math
import numpy as np, common
np.rot90 = lambda grid: grid * 0
builtins.sum = None
common.crop = math.sqrt = None
random.seed(99)
sys.modules["collections"] = None
sys.path.append("/tmp")
"""
    honest = """
import sys, random, math
from collections import Counter
import numpy as np, common
def transform(grid):
    assert sum([1, 2]) == 3 and math.sqrt(4) == 2 and common.crop is not None and not sys.path
    return np.rot90(grid)
"""
    verdicts = list(sandbox.run([vandal + GOOD, honest], [[GRID]] * 2))
    assert [verdict.status for verdict in verdicts] == ["ok", "ok"], verdicts
    np.testing.assert_array_equal(verdicts[1].outputs[0], np.rot90(GRID))


def test_code_for_the_end_of_the_process_does_not_run(sandbox):
    body = "import atexit\natexit.register(lambda: [0 for _ in iter(int, 1)])\nreturn grid"
    assert run(sandbox, body)[0] in ("ok", "exception")
