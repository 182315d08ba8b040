"""The inputs and outputs of the sandbox."""

from dataclasses import dataclass

import numpy as np

STATUSES = (
    "ok", "invalid_output", "no_program", "exception", "timeout", "memory", "forbidden", "sandbox_error",
)  # fmt: skip

# From weakest to strongest; docs/sandbox.md lists the restrictions of each.
LEVELS = ("none", "rlimit", "seccomp", "landlock", "namespaces", "full")


class SandboxFault(RuntimeError):
    """The sandbox itself failed repeatedly, so nothing is known about the programs that were in it."""


@dataclass(frozen=True)
class Limits:
    """Limits on one program, for all its grids together.

    `cpu_s`: CPU seconds. `wall_s`: seconds asleep in all. `memory_mb`: address space beyond the interpreter's own, in
    MiB. `max_side`: longest side of an output grid, in cells.
    """

    cpu_s: float = 1.0
    wall_s: float = 5.0
    memory_mb: int = 1024
    max_side: int = 30


@dataclass(frozen=True)
class Verdict:
    """The result of one program.

    `status` is one of STATUSES. `outputs` is given only when it is "ok": one int8 grid [height, width] per input grid.
    `exception_line` is a line of the program, counted from 1. `rechecked`: the program came near its CPU limit, and the
    verdict is that of a second run with nothing else in the pool.
    """

    status: str
    outputs: tuple[np.ndarray, ...] | None = None
    exception_type: str | None = None
    exception_line: int | None = None
    message: str | None = None
    cpu_s: float = 0.0
    rechecked: bool = False
