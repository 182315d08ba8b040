"""Translates programs and grids into bytes for the server, and the server's bytes into verdicts.

The program's own process wrote these bytes, so every one of them is checked.
"""

import os
import signal
import struct
from collections.abc import Sequence

import numpy as np

from arc_precision.sandbox.server import protocol
from arc_precision.sandbox.verdicts import Limits, Verdict

_LITTLE_KB = 16 << 10  # a process that has grown less was not killed for its memory


def job_frame(program: str, grids: Sequence[np.ndarray], limits: Limits) -> bytes:
    """The bytes of one job. Raises ValueError if the outputs that the limits allow would not fit the shared memory."""
    room = len(grids) * (protocol.GRID.size + limits.max_side**2) + protocol.RECORD.size
    if room > protocol.AREA_BYTES - protocol.LENGTH.size:
        raise ValueError(f"a program was given {len(grids)} grids, too many for outputs of {limits.max_side} a side")
    source = program.encode("utf-8", "surrogatepass")
    parts = [protocol.JOB.pack(len(source), len(grids)), source]
    for grid in grids:
        cells = np.ascontiguousarray(grid, dtype=np.int8)
        parts += [protocol.GRID.pack(*cells.shape), cells.tobytes()]
    body = b"".join(parts)
    return protocol.LENGTH.pack(len(body)) + body


def verdict_of_record(body: bytes, n_grids: int, limits: Limits) -> Verdict:
    """The verdict that a program's process left."""
    try:
        code, line, type_bytes, message_bytes, n_outputs = protocol.RECORD.unpack_from(body)
        status = protocol.RECORD_STATUSES[code]
        if type_bytes > protocol.TYPE_BYTES or message_bytes > protocol.MESSAGE_BYTES:
            raise ValueError
        texts, outputs_from = protocol.RECORD.size, protocol.RECORD.size + type_bytes + message_bytes
        exception_type = body[texts : texts + type_bytes].decode("utf-8", "replace")
        message = body[texts + type_bytes : outputs_from].decode("utf-8", "replace")
        outputs = _outputs(body, outputs_from, n_outputs, limits.max_side)
        if n_outputs != (n_grids if status == "ok" else 0):
            raise ValueError
    except (ValueError, IndexError, struct.error):
        return Verdict("invalid_output", message="the process left something that is not a result")
    return Verdict(
        status=status,
        outputs=outputs if status == "ok" else None,
        exception_type=exception_type or None,
        exception_line=line if line > 0 else None,
        message=message or None,
    )


def _outputs(body: bytes, start: int, n_outputs: int, max_side: int) -> tuple[np.ndarray, ...]:
    outputs = []
    for _ in range(n_outputs):
        height, width = protocol.GRID.unpack_from(body, start)
        start += protocol.GRID.size
        if not 0 < min(height, width) <= max(height, width) <= max_side:
            raise ValueError
        grid = np.frombuffer(body, np.int8, height * width, start).reshape(height, width)
        if grid.min() < 0 or grid.max() > 9:
            raise ValueError
        outputs.append(grid.copy())
        start += height * width
    if start != len(body):
        raise ValueError
    return tuple(outputs)


def verdict_of_end(wait_status: int) -> Verdict:
    """The verdict of a process that ended without leaving any."""
    code = os.waitstatus_to_exitcode(wait_status)
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}  # no name: a real-time signal
        name = names.get(-code, f"signal {-code}")
        return Verdict("exception", exception_type=name, message="the process crashed")
    return Verdict("exception", exception_type="SystemExit", message=f"the process ended with exit status {code}")


def verdict_of_kill(n_kills: int, grown_kb: int) -> Verdict:
    """The verdict of a process that a SIGKILL ended each time it ran, the last times with nothing beside it."""
    if grown_kb < _LITTLE_KB:
        return Verdict("exception", exception_type="SIGKILL", message=f"the process was killed {n_kills} times")
    return Verdict("memory", message=f"the process was killed {n_kills} times, at {grown_kb >> 10} MiB the last time")
