"""Runs one program in the process forked for it, and leaves a record of the result."""

import gc
import mmap
import os
import resource
import select
import sys
import types

import isolation
import numpy as np
import protocol

FILENAME = "<program>"
RESERVE_BYTES = 4 << 20  # memory reserved for the record of a program that has used up all other memory


class InvalidOutput(Exception):
    pass


def read_exactly(fd: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError("the job ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_job(fd: int) -> tuple[str, list[np.ndarray]]:
    """The program and its grids, int64 [height, width] each, as programs expect them."""
    (size,) = protocol.LENGTH.unpack(read_exactly(fd, protocol.LENGTH.size))
    body = read_exactly(fd, size)
    program_bytes, n_grids = protocol.JOB.unpack_from(body)
    start = protocol.JOB.size + program_bytes
    program = body[protocol.JOB.size : start].decode("utf-8", "surrogatepass")
    grids = []
    for _ in range(n_grids):
        height, width = protocol.GRID.unpack_from(body, start)
        start += protocol.GRID.size
        cells = np.frombuffer(body, np.int8, height * width, start)
        grids.append(cells.reshape(height, width).astype(int))
        start += height * width
    return program, grids


def checked_output(output, max_side: int) -> np.ndarray:
    """An output as int8 [height, width]; raises InvalidOutput where it breaks a rule."""
    if output is None:
        raise InvalidOutput("transform returned None")
    try:
        grid = np.array(output, dtype=int)  # fractions are cut off, booleans count as 0 and 1
    except MemoryError:
        raise
    except Exception as error:
        raise InvalidOutput(f"not an array of integers: {type(error).__name__}: {error}") from None
    if grid.ndim != 2:
        raise InvalidOutput(f"{grid.ndim} dimensions instead of 2")
    if not 0 < min(grid.shape) <= max(grid.shape) <= max_side:
        raise InvalidOutput(f"{grid.shape[0]} x {grid.shape[1]} cells; sides go from 1 to {max_side}")
    if grid.min() < 0 or grid.max() > 9:
        raise InvalidOutput("a cell is not a color from 0 to 9")
    return grid.astype(np.int8)


def run_program(program: str, grids: list[np.ndarray], max_side: int) -> list[np.ndarray]:
    module = types.ModuleType("__program__")
    sys.modules["__program__"] = module  # dataclasses and typing look there
    exec(compile(program, FILENAME, "exec", dont_inherit=True), module.__dict__)
    transform = module.__dict__.get("transform")
    if transform is None:
        raise NameError("the program defines no transform")
    return [checked_output(transform(grid), max_side) for grid in grids]


def line_of(error: BaseException) -> int:
    """The innermost line of the program that the error passed through, or -1."""
    line = -1
    if isinstance(error, SyntaxError) and error.filename == FILENAME and isinstance(error.lineno, int):
        line = error.lineno
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == FILENAME:
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


def record(status: str, type_name: str = "", line: int = -1, message: str = "", outputs=()) -> bytes:
    name = type_name.encode("utf-8", "replace")[: protocol.TYPE_BYTES]
    text = message.encode("utf-8", "replace")[: protocol.MESSAGE_BYTES]
    code = protocol.RECORD_STATUSES.index(status)
    parts = [protocol.RECORD.pack(code, line, len(name), len(text), len(outputs)), name, text]
    for grid in outputs:
        parts += [protocol.GRID.pack(*grid.shape), grid.tobytes()]
    return b"".join(parts)


def record_of_error(error: BaseException) -> bytes:
    if isinstance(error, InvalidOutput):
        return record("invalid_output", message=str(error))
    status = "exception"
    if isinstance(error, MemoryError):
        status = "memory"
    elif isinstance(error, PermissionError):
        status = "forbidden"
    name, line = type(error).__name__, line_of(error)
    try:
        message = str(error)
    except Exception:  # it is the program's own code
        message = ""
    return record(status, name, line, message)


_area: mmap.mmap  # where the record goes; set by main


def leave(body: bytes, exit_process=os._exit) -> None:
    """Write the record for the worker and end the process. The length is written last, so half a record counts as
    none."""
    _area[protocol.LENGTH.size : protocol.LENGTH.size + len(body)] = body
    _area[: protocol.LENGTH.size] = protocol.LENGTH.pack(len(body))
    exit_process(0)


def overslept() -> None:
    leave(record("timeout", message="slept longer than the wall limit"))


def rehearse() -> None:
    """Take the steps of every program's process in advance, often enough for the interpreter to settle.

    The interpreter rewrites code that has run a few times, and caches look-ups. Without this rehearsal every forked
    process would repeat that work, and would first have to copy the pages that it changes.
    """
    source = b"import numpy as np\nfrom typing import *\ndef transform(grid):\n    return np.rot90(grid)[:, ::-1]\n"
    body = protocol.JOB.pack(len(source), 1) + source + protocol.GRID.pack(2, 3) + bytes(6)
    read_fd, write_fd = os.pipe()
    for _ in range(50):
        mmap.mmap(-1, RESERVE_BYTES).close()
        isolation.forbid_core_dumps()
        os.write(write_fd, protocol.LENGTH.pack(len(body)) + body)
        wait_for_job(read_fd)
        program, grids = read_job(read_fd)
        record("ok", outputs=run_program(program, grids, max_side=30))
    os.close(read_fd)
    os.close(write_fd)


def wait_for_job(job: int) -> None:
    poller = select.poll()
    poller.register(job, select.POLLIN)
    poller.poll()


def main(channel: int, job: int, area: mmap.mmap, limits: dict) -> None:
    """Run a program's process from beginning to end.

    The process tells the worker through `channel` that it exists, that the job has come, and that it has read the job.
    It reads the job from the socket itself, so that no longer-lived process ever holds a program.
    """
    global _area
    _area = area
    isolation.die_with_parent()
    os.setpgid(0, 0)
    reserve = mmap.mmap(-1, RESERVE_BYTES)
    isolation.set_limit(resource.RLIMIT_NPROC, 0)
    if limits["forbid_forks"]:
        isolation.forbid_forks()
    gc.enable()
    os.write(channel, b"b")
    wait_for_job(job)
    os.sched_setaffinity(0, limits["cores"])  # shared memory from here on, if there is room
    os.write(channel, protocol.JOB_CAME)
    program, grids = read_job(job)
    os.write(channel, protocol.JOB_READ)
    os.close(channel)
    os.close(job)
    try:
        body = record("ok", outputs=run_program(program, grids, limits["max_side"]))
    except BaseException as error:
        reserve.close()
        body = record_of_error(error)
    leave(body)
