"""A worker: forks one process for each job, watches over it, and reports what came of it."""

import mmap
import os
import select
import signal
from time import clock_gettime, monotonic  # before programs get clocks of their own

import forks
import isolation
import program
import protocol

# The wall limit is for programs that wait, and one that a busy machine keeps waiting for a core is none of those: it
# is stopped when in that time it used less than this share of its CPU limit.
IDLE_SHARE = 0.05


class HangUp(Exception):
    """The caller has closed the socket, or is gone."""


def _watch(pid: int, pidfd: int, job_fd: int, started_fd: int, limits: dict) -> tuple[int, int, float]:
    """(outcome, wait status, CPU seconds) of a process, when it is over.

    Raises HangUp when the caller is gone, or the process before it had a job.
    """
    cpu_clock = (~pid << 3) | 2  # how Linux numbers the clocks of other processes
    cpu_stop_s, wall_s = limits["cpu_s"] * (1 + protocol.CPU_MARGIN), limits["wall_s"]
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(job_fd, 0)  # only tells of a hang-up
    outcome, started = protocol.LEFT_RECORD, False
    cpu_s, earlier_cpu_s, since_s = 0.0, 0.0, monotonic()
    while True:
        events = dict(poller.poll(1000 * min(max(0.0, cpu_stop_s - cpu_s), wall_s) + 1))
        if pidfd in events:
            break
        cpu_s, now_s = clock_gettime(cpu_clock), monotonic()
        if job_fd in events:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            raise HangUp
        if cpu_s >= cpu_stop_s:
            outcome = protocol.STOPPED_BY_CPU
        elif not started:
            started = _has_started(started_fd)
            since_s = now_s
        elif now_s - since_s >= wall_s:
            if cpu_s - earlier_cpu_s < IDLE_SHARE * limits["cpu_s"]:
                outcome = protocol.STOPPED_BY_WALL
            earlier_cpu_s, since_s = cpu_s, now_s
        if outcome != protocol.LEFT_RECORD:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            break
    _, status, usage = os.wait4(pid, 0)
    if not started and not _has_started(started_fd):
        raise HangUp
    return outcome, status, usage.ru_utime + usage.ru_stime


def _has_started(started_fd: int) -> bool:
    """Whether the process has taken its job. It says so before the program runs, which cannot take it back."""
    try:
        return os.read(started_fd, 1) != b""
    except BlockingIOError:
        return False


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def serve(job_fd: int, started: tuple[int, int], limits: dict) -> None:
    """Work until the caller hangs up, then raise HangUp. `started`: a pipe, whose reads do not block."""
    started_read, started_write = started
    area = mmap.mmap(-1, protocol.AREA_BYTES)
    me = os.getpid()
    while True:
        # The process is there before its job, so that a job starts at once. It reads the job itself: a worker that
        # has never seen one has none to leave to the next program.
        os.sched_setaffinity(0, {forks.current_core()})  # to start elsewhere is to find nothing cached
        pid, pidfd = isolation.fork()
        if pid == 0:
            os.close(started_read)
            program.main(me, job_fd, started_write, area, limits)
        os.sched_setaffinity(0, limits["cores"])
        outcome, status, cpu_s = _watch(pid, pidfd, job_fd, started_read, limits)
        os.close(pidfd)
        (size,) = protocol.LENGTH.unpack_from(area)
        record = b""
        if outcome == protocol.LEFT_RECORD:
            if 0 < size <= protocol.AREA_BYTES - protocol.LENGTH.size:
                record = area[protocol.LENGTH.size : protocol.LENGTH.size + size]
            else:
                outcome = protocol.ENDED_WITHOUT_RECORD
        area.madvise(mmap.MADV_REMOVE)  # whatever the program wrote there is gone
        _write_all(job_fd, protocol.REPORT.pack(outcome, status, round(cpu_s * 1e9), len(record)) + record)
