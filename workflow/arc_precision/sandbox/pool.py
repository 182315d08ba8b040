"""Runs programs, each in a process of its own, on a pool of workers that is kept between calls."""

import dataclasses
import functools
import itertools
import json
import os
import platform
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from arc_precision.sandbox.server import protocol
from arc_precision.sandbox.verdicts import LEVELS, Limits, SandboxFault, Verdict
from arc_precision.sandbox.wire import job_frame, verdict_of_end, verdict_of_kill, verdict_of_record

_HERE = Path(__file__).parent
# The files that the server's processes read, for `staleness`, which only follows imports.
RUNS_ELSEWHERE = ("sandbox/server", "sandbox/barc_library.py", "language/dsl.py")
_LIBRARIES = {"common": _HERE / "barc_library.py", "dsl": _HERE.parent / "language" / "dsl.py"}
_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "LD_BIND_NOW": "1",
    "TZ": "UTC",
    "GLIBC_TUNABLES": "glibc.pthread.rseq=0",  # else the kernel keeps the number of the core in a process's memory
} | dict.fromkeys(_THREAD_COUNTS, "1")
_MAX_ATTEMPTS = 3
_AHEAD = 2  # jobs of a worker: one runs, one waits
_READ_AHEAD = 4  # programs per worker that are read ahead
_WINDOW = 1000  # programs per worker that may be finished or running while the verdict of an earlier one is missing


@dataclass
class _Job:
    index: int
    frame: bytes
    n_grids: int
    alone: bool = False  # the program runs again, with nothing beside it
    kills: int = 0  # kills of its process from outside
    faults: int = 0  # deaths of the worker that had the job


@dataclass
class _Worker:
    socket: socket.socket
    jobs: deque[_Job] = field(default_factory=deque)  # sent or in the outbox, first one first
    outbox: bytearray = field(default_factory=bytearray)
    inbox: bytearray = field(default_factory=bytearray)


@dataclass
class _Report:
    outcome: int
    wait_status: int
    cpu_s: float
    grown_kb: int
    record: bytes


@dataclass
class _Queue:
    """The state of one call of `run`."""

    waiting: deque[_Job] = field(default_factory=deque)
    alone: deque[_Job] = field(default_factory=deque)
    verdicts: dict[int, Verdict] = field(default_factory=dict)  # by index, until all earlier ones have been given
    faults: int = 0  # since the last verdict


def _receive(connection: socket.socket, size: int = 1 << 20) -> bytes:
    """The bytes that have arrived; empty if the other end is closed in any way."""
    try:
        return connection.recv(size)
    except ConnectionResetError:
        return b""


def _start_workers(sockets: socket.socket, starts: socket.socket, theirs: list[socket.socket]) -> bytes:
    """Give the server an empty root folder, and each worker its socket; see server/__main__.py. Returns the server's
    first line, which is empty if the server ended before."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)  # the server may be another user when it enters the folder
            empty_root = os.open(folder, os.O_RDONLY)
            socket.send_fds(sockets, [b"d"], [empty_root])
            os.close(empty_root)
            with starts.makefile("rb") as lines:
                hello = lines.readline()
        for job_socket in theirs:
            starts.sendall(b"w")
            socket.send_fds(sockets, [b"d"], [job_socket.fileno()])
        return hello
    except ConnectionError:
        return b""


class _Server:
    """The process tree that programs run in, and a socket to each of its workers."""

    def __init__(self, limits: Limits, workers: int):
        pairs = [socket.socketpair() for _ in range(workers)]
        self.workers = [_Worker(ours) for ours, _ in pairs]
        config = {  # without the number of workers, because every program has this in its memory
            "limits": dataclasses.asdict(limits),
            "libraries": {name: str(path) for name, path in _LIBRARIES.items()},
            "numpy_folder": str(Path(np.__file__).parents[1]),
        }
        (sockets, stdin), (starts, stdout) = socket.socketpair(), socket.socketpair()
        with sockets, starts, stdin, stdout:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-s", str(_HERE / "server"), json.dumps(config)],
                env=_ENVIRONMENT,
                cwd="/",
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the caller, who then closes the sandbox
            )
            stdin.close()
            stdout.close()
            hello = _start_workers(sockets, starts, [theirs for _, theirs in pairs])
        for _, theirs in pairs:
            theirs.close()
        for worker in self.workers:
            _receive(worker.socket, 1)  # the worker is ready; if it is gone, that is noticed later
        self._selector = selectors.DefaultSelector()
        for worker in self.workers:
            worker.socket.setblocking(False)
            self._selector.register(worker.socket, selectors.EVENT_READ, worker)
        if not hello:
            error = self._process.stderr.read().decode(errors="replace").strip()
            self.close()
            raise SandboxFault(f"the sandbox could not be started: {error.splitlines()[-1] if error else 'no message'}")
        self.level = json.loads(hello)["level"]

    def send(self, worker: _Worker, job: _Job) -> None:
        worker.jobs.append(job)
        worker.outbox += job.frame
        self._flush(worker)

    def _flush(self, worker: _Worker) -> None:
        try:
            sent = worker.socket.send(worker.outbox)
        except BlockingIOError:
            sent = 0
        del worker.outbox[:sent]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
        if self._selector.get_key(worker.socket).events != events:
            self._selector.modify(worker.socket, events, worker)

    def reports(self) -> Iterator[tuple[_Job, _Report]]:
        """Wait until something happens, and return the jobs that have ended. Raises ConnectionError if a worker is
        gone; it was working on the first of its jobs, if it had any."""
        for key, events in self._selector.select():
            worker = key.data
            if events & selectors.EVENT_WRITE:
                self._flush(worker)
            if not events & selectors.EVENT_READ:
                continue
            received = _receive(worker.socket)
            if not received:
                if worker.jobs:
                    worker.jobs[0].faults += 1
                raise ConnectionError
            worker.inbox += received
            while len(worker.inbox) >= protocol.REPORT.size:
                outcome, status, cpu_ns, grown_kb, size = protocol.REPORT.unpack_from(worker.inbox)
                end = protocol.REPORT.size + size
                if len(worker.inbox) < end:
                    break
                record = bytes(worker.inbox[protocol.REPORT.size : end])
                del worker.inbox[:end]
                yield worker.jobs.popleft(), _Report(outcome, status, cpu_ns / 1e9, grown_kb, record)

    def close(self) -> None:
        """End all processes: when their sockets close, workers end their programs and then themselves."""
        self._selector.close()
        for worker in self.workers:
            worker.socket.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stderr.close()


class Sandbox:
    """A pool of workers, kept open across calls of `run`; a context manager.

    `workers`: programs that run at the same time, best the number of free cores. `min_level`: the isolation that is
    demanded, one of LEVELS; raises ValueError if this machine offers less. `level` is the level obtained. Only one
    thread at a time may use a pool.
    """

    def __init__(self, limits: Limits, workers: int = 1, min_level: str = "none"):
        if min_level not in LEVELS:
            raise ValueError(f"sandbox level {min_level!r} is unknown; write one of {', '.join(LEVELS)}")
        if workers < 1:
            raise ValueError(f"sandbox workers is {workers}; write 1 or more")
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            raise SandboxFault(f"the sandbox needs Linux on x86-64; this is {sys.platform} on {platform.machine()}")
        self._limits, self._n_workers = limits, workers
        self._server: _Server | None = _Server(limits, workers)
        self.level = self._server.level
        if LEVELS.index(self.level) < LEVELS.index(min_level):
            self.close()
            raise ValueError(
                f"sandbox level {min_level!r} cannot be had on this machine, which offers {self.level!r}: "
                "write that, or run where the kernel offers more"
            )

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def run(
        self, programs: Iterable[str | None], grids: Iterable[Sequence[np.ndarray]], progress: bool = False
    ) -> Iterator[Verdict]:
        """Verdicts of programs in their order, each run on its own list of input grids [height, width].

        Programs and grids are read only when they are needed. `progress` shows a bar. Raises SandboxFault if the
        sandbox keeps failing.
        """
        verdicts = self._run(zip(programs, grids, strict=True))
        if not progress:
            return verdicts
        return tqdm(verdicts, unit=" programs", total=len(programs) if isinstance(programs, Sized) else None)

    def _run(self, inputs: Iterator[tuple[str | None, Sequence[np.ndarray]]]) -> Iterator[Verdict]:
        queue = _Queue()
        n_read, n_given, exhausted = 0, 0, False
        try:
            while not exhausted or n_given < n_read:
                wanted = min(
                    _READ_AHEAD * self._n_workers - len(queue.waiting), _WINDOW * self._n_workers - (n_read - n_given)
                )
                taken = list(itertools.islice(inputs, max(0, wanted)))
                exhausted |= len(taken) < wanted
                for program, grids in taken:
                    if program is None:
                        queue.verdicts[n_read] = Verdict("no_program")
                    else:
                        frame = job_frame(program, grids, self._limits)
                        queue.waiting.append(_Job(n_read, frame, len(grids)))
                    n_read += 1
                self._proceed(self._dispatch, queue)
                while n_given in queue.verdicts:
                    yield queue.verdicts.pop(n_given)
                    n_given += 1
                if n_given < n_read:
                    self._proceed(self._collect, queue)
        finally:
            if n_given < n_read:  # the caller left early, or a fault: nobody waits for these programs any more
                self.close()

    def _dispatch(self, queue: "_Queue") -> None:
        if self._server is None:
            self._server = _Server(self._limits, self._n_workers)
        workers = self._server.workers
        if any(job.alone for worker in workers for job in worker.jobs):
            return
        for held in range(_AHEAD):
            for worker in workers:
                if queue.waiting and len(worker.jobs) == held:
                    self._server.send(worker, queue.waiting.popleft())
        if queue.alone and not any(worker.jobs for worker in workers):
            self._server.send(workers[0], queue.alone.popleft())

    def _collect(self, queue: "_Queue") -> None:
        if self._server is None:  # the server failed while jobs were sent
            return
        for job, report in self._server.reports():
            self._judge(job, report, queue)

    def _proceed(self, step: Callable[["_Queue"], None], queue: "_Queue") -> None:
        """Take a step. If the server fails in it, put all its jobs back, for a new server."""
        try:
            step(queue)
        except ConnectionError as error:
            jobs = [job for worker in self._server.workers for job in worker.jobs]
            self.close()
            queue.faults += 1
            if max([queue.faults, *(job.faults for job in jobs)]) >= _MAX_ATTEMPTS:
                raise SandboxFault(f"the sandbox failed {_MAX_ATTEMPTS} times in a row, or with one program") from error
            for job in sorted(jobs, key=lambda job: job.index, reverse=True):
                (queue.alone if job.alone else queue.waiting).appendleft(job)

    def _judge(self, job: _Job, report: "_Report", queue: "_Queue") -> None:
        """Give the verdict, or put the job back to be run with nothing beside it."""
        limit_s = self._limits.cpu_s
        queue.faults = 0
        killed = report.outcome == protocol.ENDED_WITHOUT_RECORD and report.wait_status == signal.SIGKILL
        if report.outcome == protocol.STOPPED_BY_CPU:
            verdict = Verdict("timeout", message="over the CPU limit")
        elif report.outcome == protocol.STOPPED_BY_WALL:
            verdict = Verdict("timeout", message="idle beyond the wall limit")
        elif killed:  # the kernel kills so if the machine or the job runs out of memory
            job.kills += 1
            if job.kills < _MAX_ATTEMPTS:
                job.alone = True
                queue.alone.append(job)
                return
            verdict = verdict_of_kill(job.kills, report.grown_kb)
        elif not job.alone and report.cpu_s > (1 - protocol.CPU_MARGIN) * limit_s:
            job.alone = True
            queue.alone.append(job)
            return
        elif report.cpu_s > limit_s:
            verdict = Verdict("timeout", message="over the CPU limit")
        elif report.outcome == protocol.LEFT_RECORD:
            verdict = verdict_of_record(report.record, job.n_grids, self._limits)
        else:
            verdict = verdict_of_end(report.wait_status)
        queue.verdicts[job.index] = dataclasses.replace(verdict, cpu_s=report.cpu_s, rechecked=job.alone)


def run_programs(
    programs: Iterable[str | None],
    grids: Iterable[Sequence[np.ndarray]],
    limits: Limits,
    workers: int = 1,
    min_level: str = "none",
) -> Iterator[Verdict]:
    """Verdicts of programs in their order, on a pool of their own: see Sandbox."""
    with Sandbox(limits, workers, min_level) as sandbox:
        yield from sandbox.run(programs, grids)


@functools.cache
def isolation_level() -> str:
    """The level that this machine offers, one of LEVELS."""
    with Sandbox(Limits()) as sandbox:
        return sandbox.level
