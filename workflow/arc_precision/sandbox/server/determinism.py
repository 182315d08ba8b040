"""Makes a program's clocks and random numbers the same in every run, in this process and all that it forks."""

import os
import random
import time
import types
from collections.abc import Callable

_EPOCH_S = 1_700_000_000.0
_TICK_S = 1e-6  # every look at a clock takes this long


class _Clock:
    """A clock that moves when it is read and when the program sleeps, which takes no real time."""

    def __init__(self, sleep_limit_s: float, on_oversleep: Callable[[], None]):
        self.elapsed_s, self.slept_s = 0.0, 0.0
        self.sleep_limit_s, self.on_oversleep = sleep_limit_s, on_oversleep

    def read(self) -> float:
        self.elapsed_s += _TICK_S
        return self.elapsed_s

    def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.elapsed_s += seconds
        self.slept_s += seconds
        if self.slept_s > self.sleep_limit_s:
            self.on_oversleep()


def replace_clocks(sleep_limit_s: float, on_oversleep: Callable[[], None]) -> None:
    """Put a program's own clock behind `time`; a program that sleeps longer in all calls `on_oversleep`."""
    clock = _Clock(sleep_limit_s, on_oversleep)
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, clock.read)
        setattr(time, f"{name}_ns", lambda: round(clock.read() * 1e9))
    time.time = lambda: _EPOCH_S + clock.read()
    time.time_ns = lambda: round((_EPOCH_S + clock.read()) * 1e9)
    time.sleep = clock.sleep


def replace_entropy() -> types.ModuleType:
    """Seed `random` and let every generator made without a seed draw one from a fixed stream.

    Returns a stand-in for the module `secrets`, from which numpy's generators take theirs: the real one loads OpenSSL.
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
