"""A program finds no trace of another, and has the same result in any company.

Both follow from one property: the process that forks programs has the same memory before and after each of them.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from processes import below, children

import arc_precision
from arc_precision.sandbox import LEVELS, Limits, Sandbox, isolation_level

pytestmark = pytest.mark.skipif(
    LEVELS.index(isolation_level()) < LEVELS.index("seccomp"), reason="this machine does not filter system calls"
)

GRID = np.arange(6, dtype=np.int8).reshape(2, 3)
GOOD = "def transform(grid):\n    return grid"
LIMITS = Limits(cpu_s=0.5, wall_s=1.0, memory_mb=256)
DIGITS = [8, 4, 7, 7, 2, 6, 9, 1, 8, 3, 3, 7, 5, 2]  # a row of an output

LEAVING = {
    "source": f"# tarantella\n{GOOD}",
    "print": f"import sys\nprint('taran' + 'tella' * 2, flush=True)\n{GOOD}",
    "exception": "def transform(grid):\n    raise ValueError('taran' + 'tella')",
    "exception's type": "raise type('taran' + 'tella', (Exception,), {})",
    "module state": f"import math, numpy\nmath.note = numpy.note = ['taran' + 'tella'] * 9\n{GOOD}",
    "record area": "import sys\nsys.modules['program']._area[500_000:500_010] = b'tarantella'\n" + GOOD,
    "output": f"def transform(grid):\n    return [{DIGITS}]",
}

SPY = """
import ctypes, gc, re, sys
WORDS = re.compile(b"taran(?=tella)|" + bytes(DIGITS[:7]) + b"(?=" + re.escape(bytes(DIGITS[7:])) + b")")
def transform(grid):
    found = [span for span in SPANS if WORDS.search((ctypes.c_char * (span[1] - span[0])).from_address(span[0]))]
    scanned = sum(end - start for start, end in SPANS)
    frame = sys._getframe()
    while frame is not None:
        found += [name for name, value in frame.f_locals.items() if isinstance(value, (str, bytes)) and word(value)]
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, dict):
            found += [key for key, value in thing.items() if isinstance(value, (str, bytes)) and word(value)]
    raise ValueError((scanned >> 20 > 20, found))
def word(text):
    return WORDS.search(text if isinstance(text, bytes) else text.encode("utf-8", "replace")) is not None
"""


def zygotes() -> list[int]:
    """The processes that fork programs, one per worker, after each has forked the next process and is at rest."""
    launcher = [pid for pid in children(os.getpid()) if len(below(pid)) > 2][-1]  # those of the newest pool
    [init] = children(launcher)
    found = []
    for worker in children(init):
        while len(children(worker)) < 2 or is_at_work(children(worker)[0]):
            time.sleep(0.01)
        found.append(children(worker)[0])
    return found


def is_at_work(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "S"


def readable(pid: int) -> list[tuple[int, int]]:
    """Spans of memory that a process can read, without the kernel's own."""
    spans = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, mode, _, _, _, *name = line.split()
        start, end = (int(address, 16) for address in span.split("-"))
        if mode.startswith("r") and name not in (["[vvar]"], ["[vvar_vclock]"], ["[vsyscall]"]):
            spans.append((start, end))
    return spans


def memory(pid: int) -> dict[tuple[int, int], bytes]:
    descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        return {span: os.pread(descriptor, span[1] - span[0], span[0]) for span in readable(pid)}
    finally:
        os.close(descriptor)


def verdict_of(sandbox, program, grids=(GRID,)):
    [verdict] = sandbox.run([program], [grids])
    return verdict


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(Limits(cpu_s=20.0, memory_mb=256), workers=1) as sandbox:  # to look through all memory takes a while
        assert verdict_of(sandbox, GOOD).status == "ok"
        yield sandbox


def test_the_process_that_forks_has_the_same_memory_before_and_after_programs():
    """As the memory is equal byte for byte, it holds no program, and the next one cannot tell how many came before."""
    programs = [*LEAVING.values(), "while True: pass", "x = bytearray(1 << 30)", "import os\nos._exit(3)"] * 2
    with Sandbox(LIMITS) as sandbox:
        assert verdict_of(sandbox, GOOD).status == "ok"
        [zygote] = zygotes()
        before = memory(zygote)
        assert len(list(sandbox.run(programs, [[GRID]] * len(programs)))) == len(programs)
        assert zygotes() == [zygote]
        changed = [span for span, held in memory(zygote).items() if before.get(span) != held]
    assert changed == []
    assert sum(map(len, before.values())) > 20 << 20


@pytest.mark.parametrize("program", LEAVING.values(), ids=LEAVING)
def test_nothing_of_a_program_is_in_the_memory_of_the_next(sandbox, program):
    [zygote] = zygotes()
    spy = SPY.replace("SPANS", repr(readable(zygote))).replace("DIGITS", repr(DIGITS))
    verdicts = list(sandbox.run([program, program, spy], [[GRID]] * 3))
    assert verdicts[2].message == "(True, [])", verdicts


def test_a_spy_sees_what_is_there(sandbox):
    """Otherwise the test above could not fail."""
    [zygote] = zygotes()
    spy = SPY.replace("SPANS", repr(readable(zygote))).replace("DIGITS", repr(DIGITS))
    verdict = verdict_of(sandbox, "import math\nmath.note = 'taran' + 'tella'\n" + spy)
    assert verdict.message.startswith("(True, [("), verdict


SHOWING = {
    "order of instances": """
class T:
    def __init__(self, i): self.i = i
def transform(grid):
    return [[t.i for t in {T(i) for i in range(10)}]]""",
    "order of functions": """
def transform(grid):
    functions = [lambda: i for i in range(10)]
    return [[functions.index(f) for f in set(functions)]]""",
    "addresses": """
import numpy as np
def transform(grid):
    arrays = np.zeros((9, 9)), np.ones(1 << 20)
    raise ValueError([id(object()), id([]), id(bytearray(3000)), *(array.ctypes.data for array in arrays)])""",
    "fresh memory of every size": """
import numpy as np, zlib
def transform(grid):
    sums = [zlib.crc32(np.empty(n, np.uint8).tobytes()) for n in [*range(8, 5000, 8)] * 3]
    raise ValueError(zlib.crc32(repr(sums).encode()))""",
    "process ids": """
import os, ctypes, threading
libc = ctypes.CDLL(None)
def transform(grid):
    ids = os.getpid(), os.getppid(), os.getpgrp(), threading.get_native_id(), threading.get_ident()
    groups = [libc.setpgid(0, n) for n in range(1, 40)]
    raise ValueError((ids, libc.getpid(), libc.getppid(), libc.gettid(), groups))""",
    "process ids that were kept": """
import ctypes, threading
libc = ctypes.CDLL(None)
def transform(grid):
    lock, try_lock = 6, 8
    words = [ctypes.c_int(0) for _ in range(2)]
    for word, operation in zip(words, (lock, try_lock)):
        libc.syscall(202, ctypes.byref(word), operation, 0, None, None, 0)  # the kernel would write the owner's id
    attributes, mutex, recursive = (ctypes.c_int * 4)(), (ctypes.c_int * 16)(), 1
    libc.pthread_mutexattr_settype(attributes, recursive)
    libc.pthread_mutex_init(mutex, attributes)
    libc.pthread_mutex_lock(mutex)
    raise ValueError(([word.value for word in words], list(mutex)[:4], threading.main_thread().native_id))""",
    "what the machine has": """
import os
def transform(grid):
    names = [name for name in sorted(os.sysconf_names) if "PAGES" in name or "PROC" in name]
    raise ValueError([(name, os.sysconf(name)) for name in names])""",
    "clocks": """
import time, os
import numpy as np
def transform(grid):
    civil = time.time(), time.localtime()[:6], time.gmtime()[:6], time.ctime(), time.asctime(), time.strftime("%c")
    counters = time.clock_gettime(0), time.clock_gettime_ns(1), time.perf_counter_ns(), time.process_time()
    raise ValueError((civil, counters, np.datetime64("now"), np.array(["today"], "M8[D]"), tuple(os.times())))""",
    "clocks of the kernel": """
import ctypes
libc = ctypes.CDLL(None)
def transform(grid):
    room = (ctypes.c_long * 8)()
    calls = *(libc.clock_gettime(n, room) for n in (0, 1, 2, 3, 4, 7, 11)), libc.gettimeofday(room, None)
    raise ValueError((libc.time(None), libc.clock(), calls, bytes(room)[:16]))""",
    "random bytes of the start": """
import ctypes
libc = ctypes.CDLL(None)
libc.getauxval.restype = ctypes.c_void_p
def transform(grid):
    raise ValueError(ctypes.string_at(libc.getauxval(25), 16))""",
    "how it was started": """
import sys, os
def transform(grid):
    raise ValueError((sys.argv[1:], sorted(os.environ.items()), sys.flags)[:480])""",
    "waits with a time limit": """
import queue, threading, select
def transform(grid):
    lock = threading.Lock()
    lock.acquire()
    return [[lock.acquire(timeout=0.2), threading.Event().wait(0.3), len(select.poll().poll(400))]]""",
}
COMPANY = [
    GOOD,
    "raise ValueError('z' * 500)",
    "def transform(grid):\n    return [[7] * 30] * 30",
    "x = bytearray(1 << 30)",
]


def result(verdict):
    outputs = None if verdict.outputs is None else [output.tolist() for output in verdict.outputs]
    return verdict.status, verdict.exception_type, verdict.exception_line, verdict.message, outputs


def test_one_result_in_any_company():
    """Alone, after other programs, among them; in pools of one, two and three workers."""
    programs = list(SHOWING.values())
    n = len(programs)
    seen = []
    for workers in (1, 2, 3):
        with Sandbox(LIMITS, workers=workers) as sandbox:
            if workers > 1:
                list(sandbox.run(COMPANY * workers, [[GRID]] * 4 * workers))
            for order in (programs, programs[::-1]):
                mixed = [program for pair in zip(order, (COMPANY * n)[:n], strict=True) for program in pair]
                verdicts = list(sandbox.run(mixed, [[GRID]] * 2 * n))[::2]
                results = [result(verdict) for verdict in verdicts]
                seen.append(results if order is programs else results[::-1])
    for name, results in zip(SHOWING, zip(*seen, strict=True), strict=True):
        assert results[0][0] in ("ok", "exception"), (name, results[0])
        assert all(other == results[0] for other in results), name


ORDERS = """
import numpy as np
from arc_precision.sandbox import Limits, Sandbox
with Sandbox(Limits()) as sandbox:
    [verdict] = sandbox.run([PROGRAM], [[np.zeros((1, 1))]])
print(verdict.status, *verdict.outputs)
"""


def test_one_result_whether_or_not_python_has_compiled_the_libraries(tmp_path):
    """The same in a fresh clone and in a used one."""
    for path in ("__init__.py", "sandbox", "language/dsl.py"):
        source, target = Path(arc_precision.__file__).parent / path, tmp_path / "arc_precision" / path
        target.parent.mkdir(exist_ok=True, parents=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    command = [sys.executable, "-c", ORDERS.replace("PROGRAM", repr(SHOWING["order of functions"]))]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    shown = [subprocess.run(command, env=environment, capture_output=True, text=True).stdout for _ in range(2)]
    assert shown[0] == shown[1] and shown[0].startswith("ok [["), shown


def test_clocks_stand_at_one_moment_whatever_the_day(sandbox):
    message = verdict_of(sandbox, SHOWING["clocks"]).message
    assert message.count("2023") == 5 and "1970-01-01T00:00:00" in message, message
    assert verdict_of(sandbox, SHOWING["clocks of the kernel"]).message == f"(0, -1, {(-1,) * 8}, {bytes(16)})"


REPLACING = """
import ctypes, sys, threading
sys.path.insert(0, SERVER)
import isolation
noted = NOTED or threading.main_thread().native_id
isolation.replace_thread_id(noted, 2)
words = (ctypes.c_int * 256).from_address(isolation._libc.pthread_self())
thread = threading.Thread(target=print, args=(list(words).count(noted), "and a thread"))
thread.start()
thread.join()
"""


@pytest.mark.parametrize("noted", [None, 0x7FFF], ids=["own", "upper half of pointers"])
def test_the_thread_id_is_replaced_and_no_pointer(noted):
    """A process whose id is the upper half of its addresses lives on."""
    server = str(Path(arc_precision.__file__).parent / "sandbox/server")
    script = REPLACING.replace("SERVER", repr(server)).replace("NOTED", repr(noted))
    done = subprocess.run(["setarch", "-R", sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, _, said = done.stdout.partition(" ")
    assert said == "and a thread\n" and (int(count) > 0) == (noted is not None)
