"""What the kernel offers to hold a process back: the calls Python lacks, on Linux and x86-64.

Nothing here is undone: a process that has given something up, and every process it forks, has given it up for good.
Each function raises OSError where the kernel refuses.
"""

import ctypes
import os
import resource
import struct

_libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL keeps the GIL, so that a fork happens between two bytecodes

_SYS_CLONE, _SYS_SECCOMP = 56, 317
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_RESTRICT_SELF = 444, 446
_CLONE_PIDFD, _SIGCHLD = 0x1000, 17
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_SIGKILL = 9
_ADDR_NO_RANDOMIZE = 0x0040000
_NOBODY = 65534


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def fork() -> tuple[int, int]:
    """(pid, pidfd) in the parent, (0, -1) in the child.

    Unlike os.fork it runs no at-fork hooks: those of `random` alone, which reseed it, cost a quarter of a program's
    time and would undo its seed. The caller must have one thread only.
    """
    pidfd = ctypes.c_int(-1)
    pid = _checked(_libc.syscall(_SYS_CLONE, _CLONE_PIDFD | _SIGCHLD, None, ctypes.byref(pidfd), None, None))
    return pid, pidfd.value


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, the process that forked it, dies."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0))
    if os.getppid() != parent:  # it died before
        os._exit(1)


def fix_addresses() -> None:
    """Switch address randomization off for what this process executes next: sets of objects that hash by address
    are then iterated in one order always."""
    _checked(_libc.personality(_ADDR_NO_RANDOMIZE))


def become_nobody() -> None:
    """From root to the user who owns nothing; the kernel exempts root from its limit on processes."""
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))  # else root owns our /proc files, the next step's uid_map too


def enter_namespaces() -> None:
    """New user, network, IPC, host name and mount namespaces, and a new process namespace for the children."""
    uid, gid = os.getuid(), os.getgid()
    new_user, new_mount, new_uts, new_ipc, new_pid, new_net = (
        0x10000000, 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000,
    )  # fmt: skip
    _checked(_libc.unshare(new_user | new_mount | new_uts | new_ipc | new_pid | new_net))
    for name, line in (("setgroups", "deny"), ("uid_map", f"{_NOBODY} {uid} 1"), ("gid_map", f"{_NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def enter_empty_root(directory_fd: int) -> None:
    """Make an empty directory, which may be deleted by now, the only one there is."""
    os.fchdir(directory_fd)
    os.chroot(".")


def drop_capabilities() -> None:
    header = struct.pack("<Ii", 0x20080522, 0)
    _checked(_libc.capset(header, bytes(24)))


def forbid_new_privileges() -> None:
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def restrict_with_landlock() -> None:
    """No file system access at all, and what newer kernels add: no TCP, no abstract sockets or signals outwards."""
    version = _checked(_libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, 1))
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    network, scopes = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    handled = struct.pack("<QQQ", files, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _checked(_libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, handled, len(handled), 0))
    _checked(_libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def set_limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


# System calls: all that computing takes, and what a worker needs to fork programs, watch them and hear of new ones.
# A program inherits those, so they are such as do no harm in its hands: it has no descriptor but the null device's, no
# pidfd to send a signal to, limits it cannot raise, and a limit on processes under which clone fails (for root, whom
# that limit does not hold, a second filter).
_ALLOWED = {
    "read": 0, "write": 1, "close": 3, "poll": 7, "lseek": 8, "munmap": 11, "brk": 12, "rt_sigaction": 13,
    "rt_sigprocmask": 14, "rt_sigreturn": 15, "writev": 20, "sched_yield": 24, "mremap": 25, "madvise": 28,
    "getpid": 39, "exit": 60, "wait4": 61, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "times": 100,
    "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "setpgid": 109, "getppid": 110, "sigaltstack": 131,
    "gettid": 186, "futex": 202, "clock_gettime": 228, "clock_getres": 229, "exit_group": 231,
    "getcpu": 309, "seccomp": 317, "pidfd_send_signal": 424,
}  # fmt: skip
_MMAP, _MPROTECT, _PRCTL, _SCHED_SETAFFINITY, _PRLIMIT = 9, 10, 157, 203, 302
_PROT_EXEC = 4
_AUDIT_ARCH_X86_64 = 0xC000003E
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # _FAIL: the call returns EPERM


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _filter() -> bytes:
    """The BPF program. It reads the call's number at offset 0, the architecture at 4, argument n at 16 + 8n."""
    allow, fail = _step(_RETURN, _ALLOW), _step(_RETURN, _FAIL)
    steps = [_step(_LOAD, 4), _step(_EQUAL, _AUDIT_ARCH_X86_64, 1), _step(_RETURN, _KILL), _step(_LOAD, 0)]
    for number in _ALLOWED.values():
        steps += [_step(_EQUAL, number, 0, 1), allow]
    for number in (_MMAP, _MPROTECT):  # never of memory that can be executed
        steps += [_step(_EQUAL, number, 0, 4), _step(_LOAD, 32), _step(_ANY_BIT, _PROT_EXEC, 0, 1), fail, allow]
    # Only as fork() and die_with_parent() call them; only for the calling process, which is 0. Of its limits none on
    # CPU time: the kernel enforces that by SIGKILL, and a program could seem to have been killed from outside.
    for number, *arguments in (
        (_SYS_CLONE, _CLONE_PIDFD | _SIGCHLD),
        (_PRCTL, _PR_SET_PDEATHSIG, _SIGKILL),
        (_SCHED_SETAFFINITY, 0),
        (_PRLIMIT, 0, resource.RLIMIT_NPROC),
        (_PRLIMIT, 0, resource.RLIMIT_AS),
    ):
        checks = [_step(_EQUAL, number, 0, 2 * len(arguments) + 1)]
        for n, value in enumerate(arguments):
            remaining = 2 * (len(arguments) - n - 1) + 1
            checks += [_step(_LOAD, 16 + 8 * n), _step(_EQUAL, value, 0, remaining)]
        steps += [*checks, allow, _step(_LOAD, 0)]
    return b"".join([*steps, fail])


class _BpfProgram(ctypes.Structure):
    _fields_ = [("steps", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def filter_system_calls() -> None:
    """Every system call but the listed ones fails with EPERM from now on."""
    _install(_filter())


def forbid_forks() -> None:
    """clone fails, too. A second filter costs each process more time than all other steps together."""
    _install(_step(_LOAD, 0) + _step(_EQUAL, _SYS_CLONE, 0, 1) + _step(_RETURN, _FAIL) + _step(_RETURN, _ALLOW))


def _install(steps: bytes) -> None:
    program = _BpfProgram(len(steps) // 8, steps)
    set_mode_filter, allow_speculation = 1, 4  # without the flag older kernels slow the whole process down
    _checked(_libc.syscall(_SYS_SECCOMP, set_mode_filter, allow_speculation, ctypes.byref(program)))
