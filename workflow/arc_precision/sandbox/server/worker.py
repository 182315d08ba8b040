"""A worker: forks one process for each job, watches over it, and reports what came of it."""

import mmap
import os
import select
import signal
from time import clock_gettime, monotonic  # before programs get clocks of their own

import isolation
import program
import protocol

# The wall limit is for programs that wait, and one that a busy machine keeps waiting for a core is none of those: it
# is stopped when in that time it used less than this share of its CPU limit.
IDLE_SHARE = 0.05


def _watch(pid: int, pidfd: int, job_fd: int, limits: dict) -> tuple[int, int, float]:
    """(outcome, wait status, CPU seconds) of a process, when it is over."""
    cpu_clock = (~pid << 3) | 2  # how Linux numbers the clocks of other processes
    cpu_stop_s, wall_s = limits["cpu_s"] * (1 + protocol.CPU_MARGIN), limits["wall_s"]
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(job_fd, 0)  # only tells of a hang-up
    outcome = protocol.LEFT_RECORD
    cpu_s, earlier_cpu_s, since_s = 0.0, 0.0, monotonic()
    while True:
        events = dict(poller.poll(1000 * min(cpu_stop_s - cpu_s, wall_s) + 1))
        if pidfd in events:
            break
        cpu_s, now_s = clock_gettime(cpu_clock), monotonic()
        if job_fd in events:
            outcome = protocol.ENDED_WITHOUT_RECORD  # nobody is there to be told
        elif cpu_s >= cpu_stop_s:
            outcome = protocol.STOPPED_BY_CPU
        elif now_s - since_s >= wall_s:
            if cpu_s - earlier_cpu_s < IDLE_SHARE * limits["cpu_s"]:
                outcome = protocol.STOPPED_BY_WALL
            earlier_cpu_s, since_s = cpu_s, now_s
        if outcome != protocol.LEFT_RECORD:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            break
    _, status, usage = os.wait4(pid, 0)
    return outcome, status, usage.ru_utime + usage.ru_stime


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def serve(job_fd: int, limits: dict, own_memory_bytes: int) -> None:
    """Work until the caller hangs up."""
    area = mmap.mmap(-1, protocol.AREA_BYTES)
    me = os.getpid()
    poller = select.poll()
    poller.register(job_fd, select.POLLIN)
    while poller.poll()[0][1] == select.POLLIN:  # anything else is a hang-up
        # The process reads its job itself: a worker that never saw one has none to leave to the next program.
        pid, pidfd = isolation.fork()
        if pid == 0:
            program.main(me, job_fd, area, limits, own_memory_bytes)
        outcome, status, cpu_s = _watch(pid, pidfd, job_fd, limits)
        os.close(pidfd)
        (size,) = protocol.LENGTH.unpack_from(area)
        body = b""
        if outcome == protocol.LEFT_RECORD:
            if 0 < size <= protocol.AREA_BYTES - protocol.LENGTH.size:
                body = area[protocol.LENGTH.size : protocol.LENGTH.size + size]
            else:
                outcome = protocol.ENDED_WITHOUT_RECORD
        area.madvise(mmap.MADV_REMOVE)  # whatever the program wrote there is gone
        _write_all(job_fd, protocol.REPORT.pack(outcome, status, round(cpu_s * 1e9), len(body)) + body)
