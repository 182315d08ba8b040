"""Makes a program's clocks, random numbers and identity the same in every run, here and in all that is forked."""

import _thread
import os
import queue
import random
import threading
import time
import types
from collections.abc import Callable

import isolation

_EPOCH_S = 1_700_000_000.0
_TICK_S = 1e-6  # every look at a clock takes this long
_PID, _PARENT_PID = 2, 1


class _Clock:
    """A clock that moves when it is read and when the program sleeps, which takes no real time."""

    def __init__(self, sleep_limit_s: float, on_oversleep: Callable[[], None]):
        self.elapsed_s, self.slept_s = 0.0, 0.0
        self.sleep_limit_s, self.on_oversleep = sleep_limit_s, on_oversleep

    def read(self) -> float:
        self.elapsed_s += _TICK_S
        return self.elapsed_s

    def sleep(self, seconds: float) -> None:
        seconds = 0.0 + seconds
        if not seconds >= 0:
            raise ValueError("sleep length must be a non-negative number")
        self.elapsed_s += seconds
        self.slept_s += seconds
        if self.slept_s > self.sleep_limit_s:
            self.on_oversleep()


def replace_clocks(sleep_limit_s: float, on_oversleep: Callable[[], None]) -> None:
    """Put a program's own clock behind `time` and `os`; a program that sleeps longer in all calls `on_oversleep`."""
    clock = _Clock(sleep_limit_s, on_oversleep)
    civil = {time.CLOCK_REALTIME, time.CLOCK_TAI}

    def now() -> float:
        return _EPOCH_S + clock.read()

    def clock_gettime(clock_id: int) -> float:
        return now() if clock_id in civil else clock.read()

    readers = dict.fromkeys(("monotonic", "perf_counter", "process_time", "thread_time"), clock.read)
    for name, read in (readers | {"time": now, "clock_gettime": clock_gettime}).items():
        setattr(time, name, read)
        setattr(time, f"{name}_ns", lambda *clock_id, read=read: round(read(*clock_id) * 1e9))
    time.sleep = clock.sleep
    threading._time = queue.time = time.monotonic

    def of_now(convert: Callable) -> Callable:
        return lambda seconds=None: convert(now() if seconds is None else seconds)

    localtime, strftime, asctime = time.localtime, time.strftime, time.asctime
    time.localtime, time.gmtime, time.ctime = of_now(localtime), of_now(time.gmtime), of_now(time.ctime)
    time.strftime = lambda form, moment=None: strftime(form, localtime(now()) if moment is None else moment)
    time.asctime = lambda moment=None: asctime(localtime(now()) if moment is None else moment)
    os.times = lambda: os.times_result((clock.read(), 0.0, 0.0, 0.0, clock.read()))


def replace_identities() -> None:
    """The process ids, which would count the programs that ran before. Only for where no signal can be sent: the
    process that has these ids may be another."""
    os.getpid = os.getpgrp = lambda: _PID
    os.getppid = lambda: _PARENT_PID
    threading.get_native_id = _thread.get_native_id = os.getpid
    isolation.replace_thread_id(threading.main_thread().native_id, _PID)
    threading.main_thread()._native_id = _PID
    for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"):  # the C library turns a refused call into a random number
        del os.sysconf_names[name]


def replace_entropy() -> types.ModuleType:
    """Seed `random` and let every generator made without a seed draw one from a fixed stream.

    Returns a stand-in for the module `secrets`, the source of seeds for numpy's generators: the real one loads OpenSSL.
    """
    stream = random.Random(0)
    seed_with = random.Random.seed

    def seed(self: random.Random, a=None, version: int = 2) -> None:
        seed_with(self, stream.getrandbits(128) if a is None else a, version)

    random.Random.seed = seed
    random.seed = random._inst.seed
    random._urandom = os.urandom = lambda size: stream.randbytes(size)
    random.seed(0)
    secrets = types.ModuleType("secrets")
    secrets.randbits = stream.getrandbits
    return secrets
