"""A worker: has its zygote fork a process for each job, watches the process, and reports the result."""

import _socket
import mmap
import os
import select
import signal
import struct
from dataclasses import dataclass
from time import clock_gettime, monotonic  # the real clock, before programs get clocks of their own

import descriptors
import forks
import isolation
import protocol
import zygote

_CREDENTIALS = struct.Struct("iii")  # pid, uid, gid
_LOOKS = 8  # looks at a program within its wall limit


class HangUp(Exception):
    """The caller has closed the socket or is gone, or the zygote is gone."""


@dataclass
class _End:
    outcome: int
    wait_status: int
    cpu_s: float
    peak_kb: int


class _Process:
    """A process that waits for a job, or has one."""

    def __init__(self, channel: _socket.socket):
        channel.send(b"f")
        message, [(_, _, sender)], *_ = channel.recvmsg(1, _socket.CMSG_LEN(_CREDENTIALS.size))
        if not message:
            raise HangUp
        self.pid, _, _ = _CREDENTIALS.unpack(sender)
        self.pidfd = os.pidfd_open(self.pid)

    def cpu_s(self) -> float:
        return clock_gettime((~self.pid << 3) | 2)  # how Linux numbers the clocks of other processes

    def is_asleep(self, proc: int | None) -> bool:
        """Whether the process neither computes nor waits for a core; True if the kernel does not tell. `proc`: a folder
        /proc, possibly of another process namespace with other ids."""
        try:
            facts = _read_file(f"self/fdinfo/{self.pidfd}", proc).split()
            pid = facts[facts.index("Pid:") + 1]
            return _read_file(f"{pid}/stat", proc).rsplit(")", 1)[1].split()[0] != "R"
        except (OSError, ValueError, IndexError):
            return True

    def end(self, outcome: int) -> _End:
        """Kill the process and collect its exit status."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.pidfd)
        return _End(outcome, status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def _read_file(path: str, folder: int | None) -> str:
    if folder is None:
        raise FileNotFoundError(path)
    descriptor = os.open(path, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(descriptor, 4096).decode()
    finally:
        os.close(descriptor)


def _wait_for_start(process: _Process, channel: _socket.socket, job: int) -> bool:
    """Whether the process has read its job. False: it was killed before, and the job can still be read. Raises HangUp
    if it was killed while it read, because the rest of the job would be taken for the next one."""
    poller = select.poll()
    poller.register(process.pidfd, select.POLLIN)
    poller.register(channel, select.POLLIN)
    poller.register(job, 0)  # only reports a hang-up
    reads = False
    while True:
        events = dict(poller.poll())
        if job in events:
            process.end(protocol.LEFT_RECORD)
            raise HangUp
        if channel.fileno() not in events:
            process.end(protocol.LEFT_RECORD)
            if reads:
                raise HangUp
            return False
        message = channel.recv(1)
        if not message:
            raise HangUp
        if message == protocol.JOB_READ:
            return True
        reads = True


def _watch(process: _Process, job: int, limits: dict, proc: int | None) -> _End:
    """Wait until the process ends, has used up its CPU time, or has been asleep for too long in all.

    Time on a busy or halted machine, or in a suspended job, is no sleep: an interval counts only if the process is
    asleep at its end, and only for its intended length. Raises HangUp if the caller is gone.
    """
    cpu_stop_s, wall_s = limits["cpu_s"] * (1 + protocol.CPU_MARGIN), limits["wall_s"]
    look_s = wall_s / _LOOKS
    poller = select.poll()
    poller.register(process.pidfd, select.POLLIN)
    poller.register(job, 0)
    cpu_s, asleep_s, now_s = 0.0, 0.0, monotonic()
    while True:
        events = dict(poller.poll(1000 * min(max(0.0, cpu_stop_s - cpu_s), look_s) + 1))
        if process.pidfd in events:
            return process.end(protocol.LEFT_RECORD)
        if job in events:
            process.end(protocol.LEFT_RECORD)
            raise HangUp
        last_cpu_s, cpu_s, last_s, now_s = cpu_s, process.cpu_s(), now_s, monotonic()
        if cpu_s >= cpu_stop_s:
            return process.end(protocol.STOPPED_BY_CPU)
        if process.is_asleep(proc):
            asleep_s += max(0.0, min(now_s - last_s, 2 * look_s) - (cpu_s - last_cpu_s))
        if asleep_s >= wall_s:
            return process.end(protocol.STOPPED_BY_WALL)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _take_record(area: mmap.mmap) -> bytes | None:
    """Take the record that the process left, and wipe it; None if it is not whole."""
    (size,) = protocol.LENGTH.unpack_from(area)
    whole = 0 < size <= protocol.AREA_BYTES - protocol.LENGTH.size
    record = area[protocol.LENGTH.size : protocol.LENGTH.size + size] if whole else None
    area.madvise(mmap.MADV_REMOVE)
    return record


def serve(sockets: int, null: int, proc: int | None, layout: forks.Layout, limits: dict) -> None:
    """Work until the caller hangs up, then raise HangUp. The first descriptor from `sockets` is the job socket.

    `null`, `proc`: descriptors of the null device and of the folder /proc.
    """
    area = mmap.mmap(-1, protocol.AREA_BYTES)
    ours, theirs = (end.detach() for end in _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET))
    pid, pidfd = isolation.fork()
    if pid == 0:
        zygote.serve(theirs, null, area, layout, limits)
        os._exit(0)
    os.close(pidfd)
    os.close(theirs)
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, ours)
    channel.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    job = descriptors.receive(sockets)
    for standard in range(3):
        os.dup2(null, standard)
    os.close(null)
    descriptors.send(ours, job)
    own_kb = max(os.wait4(-1, 0)[2].ru_maxrss for _ in range(zygote.REHEARSALS))
    process = _Process(channel)  # forked before its job comes, so that a job starts at once
    os.write(job, protocol.READY)
    while True:
        if not _wait_for_start(process, channel, job):
            process = _Process(channel)
            continue
        end = _watch(process, job, limits, proc)
        record = _take_record(area)
        if record is None and end.outcome == protocol.LEFT_RECORD:
            end.outcome = protocol.ENDED_WITHOUT_RECORD
        elif end.outcome != protocol.LEFT_RECORD:
            record = None
        report = protocol.REPORT.pack(
            end.outcome, end.wait_status, round(end.cpu_s * 1e9), max(0, end.peak_kb - own_kb), len(record or b"")
        )
        _write_all(job, report + (record or b""))
        process = _Process(channel)
