"""The kernel's means to restrain a process: the calls that Python lacks, on Linux and x86-64.

Nothing here can be undone: a process that has given up a right, and every process that it forks, has lost the right for
good. Each function raises OSError if the kernel refuses.
"""

import ctypes
import functools
import os
import resource
import struct

_libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL keeps the GIL, so that a fork happens between two bytecodes
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_libc.getauxval.restype = _libc.pthread_self.restype = _libc.memmem.restype = ctypes.c_void_p
_libc.memmem.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
_quiet_syscall = ctypes.PyDLL(None, use_errno=True).syscall  # its result becomes no Python object
_quiet_syscall.restype = None

_SYS_CLONE, _SYS_SCHED_SETAFFINITY, _SYS_SCHED_GETAFFINITY, _SYS_SECCOMP = 56, 203, 204, 317
_CORE_BYTES = 1024  # of a set of cores
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_RESTRICT_SELF = 444, 446
_CLONE_PIDFD, _CLONE_PARENT, _CLONE_CHILD_SETTID, _SIGCHLD = 0x1000, 0x8000, 0x01000000, 17
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_SIGKILL = 9
_ADDR_NO_RANDOMIZE = 0x0040000
_NOBODY = 65534
_THREAD_BYTES = 1024  # the C library's notes of a thread are longer


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def fork() -> tuple[int, int]:
    """(pid, pidfd) in the parent, (0, -1) in the child.

    Unlike os.fork it runs no at-fork hooks. The hook of `random` alone takes a quarter of a program's time, and it
    would undo the seed. The caller must have one thread only.
    """
    pidfd = ctypes.c_int(-1)
    pid = _checked(_libc.syscall(_SYS_CLONE, _CLONE_PIDFD | _SIGCHLD, None, ctypes.byref(pidfd), None, None))
    return pid, pidfd.value


@functools.cache
def _all_cores() -> ctypes.Array:
    """The cores that this process and all that it forks may run on. The filter has no call to ask for them later."""
    cores = (ctypes.c_ubyte * _CORE_BYTES)()
    _checked(_libc.syscall(_SYS_SCHED_GETAFFINITY, 0, _CORE_BYTES, cores))
    return cores


def fork_at_each_byte(descriptor: int, siblings: bool = False) -> bool:
    """Fork whenever a byte can be read: True in each new process; False in this one, when no more bytes can come.

    Each new process finds the same memory, byte for byte, however many came before it: an iteration allocates and frees
    the same objects, and leaves nothing behind, not even the new process's id. So everything that depends on addresses,
    such as the order of a set of objects, is the same in all of them. `siblings`: the new processes are children of
    this one's parent. They run on this one's core only, because a process that starts on another core finds nothing in
    its caches.
    """
    flags = (_CLONE_PARENT if siblings else 0) | _CLONE_CHILD_SETTID | _SIGCHLD
    tid = ctypes.c_int()  # set by the kernel in the new process only
    place = ctypes.byref(tid)
    cores, own_core = _all_cores(), (ctypes.c_ubyte * _CORE_BYTES)()
    ctypes.set_errno(0)
    while not tid:
        if not os.read(descriptor, 1):
            return False
        core = _libc.sched_getcpu()
        own_core[core >> 3] = 1 << (core & 7)
        _quiet_syscall(_SYS_SCHED_SETAFFINITY, 0, _CORE_BYTES, own_core)
        _quiet_syscall(_SYS_CLONE, flags, None, None, place, None)
        if ctypes.get_errno():
            os._exit(1)
        own_core[core >> 3] = core = 0
        if not tid:
            _quiet_syscall(_SYS_SCHED_SETAFFINITY, 0, _CORE_BYTES, cores)
    tid.value = 0
    return True


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies. A parent that has died before this call is not
    noticed."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0))


def hide_clocks(page: tuple[int, int] | None) -> None:
    """Empty the memory [start, end) from which processes read the time without a system call. From now on reading the
    time takes a system call, and `time()` returns 0."""
    if page is None:
        raise OSError("the clock page was not found")
    start, end = page
    read_only, fixed_private_anonymous = 1, 0x32
    if _libc.mmap(start, end - start, read_only, fixed_private_anonymous, -1, 0) != start:
        raise OSError("the kernel keeps its clock page")


def forget_random_bytes() -> None:
    """Erase the random bytes that the kernel gave this process at its start; nothing reads them again."""
    at_random = 25
    ctypes.memset(_libc.getauxval(at_random), 0, 16)


def replace_thread_id(noted: int, replacement: int) -> None:
    """Replace the thread id in the C library's memory. The library marks locks with it while the thread holds them.

    Only eight aligned bytes that hold nothing but the id count: the upper half of a pointer can have the same value.
    """
    # The bytes beside it are random in every process, and no object may be made of them: memory that programs see as
    # fresh would differ.
    start, id_alone = _libc.pthread_self(), noted.to_bytes(8, "little")
    place = _libc.memmem(start, _THREAD_BYTES, id_alone, 8)
    while place:
        if place % 8 == 0:
            ctypes.c_int.from_address(place).value = replacement
        place = _libc.memmem(place + 1, start + _THREAD_BYTES - place - 1, id_alone, 8)


def fix_addresses() -> None:
    """Switch address randomization off for the next program that this process executes. Sets of objects that hash by
    address then always have the same order."""
    _checked(_libc.personality(_ADDR_NO_RANDOMIZE))


def become_nobody() -> None:
    """Change from root to the user who owns nothing, because the kernel exempts root from the limit on processes."""
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))  # or root owns our /proc files, the next step's uid_map too


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
    """Make an empty directory, which may already be deleted, the whole file system."""
    os.fchdir(directory_fd)
    os.chroot(".")


def drop_capabilities() -> None:
    header = struct.pack("<Ii", 0x20080522, 0)
    _checked(_libc.capset(header, bytes(24)))


def forbid_new_privileges() -> None:
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def restrict_with_landlock() -> None:
    """Forbid all access to the file system; on newer kernels also TCP, and abstract sockets and signals outwards."""
    version = _checked(_libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, 1))
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    network, scopes = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    handled = struct.pack("<QQQ", files, network, scopes)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _checked(_libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, handled, len(handled), 0))
    _checked(_libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def set_limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


def forbid_core_dumps() -> None:
    """Limit core dumps to one byte. With a limit of 0 the kernel still passes a crashed process to the machine's
    collector of dumps, if there is one. A batch system may have set 0 already, and then the limit cannot be raised."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    set_limit(resource.RLIMIT_CORE, 0 if hard == 0 else 1)


# The allowed system calls: those for computing, and those that starting a program still takes after the filter is
# installed. The program inherits the latter, so they must be harmless for it: it has no descriptor but the null
# device's, limits that it cannot raise, and a limit on processes under which clone fails. (Root is exempt from that
# limit, so it gets a second filter.)
_ALLOWED = {
    "read": 0, "write": 1, "close": 3, "lseek": 8, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14,
    "rt_sigreturn": 15, "writev": 20, "sched_yield": 24, "madvise": 28, "exit": 60, "getrlimit": 97, "getrusage": 98,
    "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "sigaltstack": 131, "clock_getres": 229,
    "exit_group": 231, "getcpu": 309,
}  # fmt: skip
_IDENTITIES = {"getpid": 39, "getppid": 110, "gettid": 186}  # 0 for every program
_POLL, _MMAP, _MPROTECT, _MREMAP, _SETPGID, _PRCTL, _FUTEX, _PRLIMIT = (
    7, 9, 10, 25, 109, 157, 202, 302,
)  # fmt: skip
_PROT_EXEC, _MREMAP_MAYMOVE, _ETIMEDOUT = 4, 1, 110
_AUDIT_ARCH_X86_64 = 0xC000003E
_LOAD, _AND, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x45, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # _FAIL: the call returns EPERM
_GIVE_ZERO, _TIME_OUT = 0x00050000, 0x00050000 | _ETIMEDOUT


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _for_call(number: int, *steps: bytes) -> bytes:
    """Filter steps for the one system call whose number is loaded; they must return."""
    return _step(_EQUAL, number, 0, len(steps)) + b"".join(steps)


def _filter() -> bytes:
    """The BPF program. It reads the call's number at offset 0, the architecture at 4, argument n at 16 + 8n."""
    allow, fail, kill = _step(_RETURN, _ALLOW), _step(_RETURN, _FAIL), _step(_RETURN, _KILL)
    steps = [_step(_LOAD, 4), _step(_EQUAL, _AUDIT_ARCH_X86_64, 1), kill, _step(_LOAD, 0)]
    steps += [_for_call(number, allow) for number in _ALLOWED.values()]
    steps += [_for_call(number, _step(_RETURN, _GIVE_ZERO)) for number in _IDENTITIES.values()]
    # A program has one thread, so nothing can end its wait: a wait with a time limit expires at once. A wait without a
    # time limit ends at the wall limit.
    steps.append(_for_call(_POLL, _step(_LOAD, 32), _step(_ANY_BIT, 1 << 31, 0, 1), allow, _step(_RETURN, _GIVE_ZERO)))
    # The other operations on a futex lock it, and the kernel then writes the process's id there.
    wait, wake, wait_bitset, wake_bitset = 0, 1, 9, 10
    steps.append(
        _for_call(
            _FUTEX,
            _step(_LOAD, 24), _step(_AND, 0x7F), _step(_EQUAL, wait, 4), _step(_EQUAL, wait_bitset, 3),
            _step(_EQUAL, wake, 7), _step(_EQUAL, wake_bitset, 6), fail,
            _step(_LOAD, 40), _step(_EQUAL, 0, 0, 2), _step(_LOAD, 44), _step(_EQUAL, 0, 1),
            _step(_RETURN, _TIME_OUT),
            allow,
        )
    )  # fmt: skip
    # Executable memory is refused, and so is memory at a chosen address. With it a program could scatter its pages, and
    # the kernel's page tables do not count in its memory limit; it could also replace memory unnoticed.
    executable = (_step(_LOAD, 32), _step(_ANY_BIT, _PROT_EXEC, 0, 1), fail)
    steps.append(_for_call(_MPROTECT, *executable, allow))
    anywhere = (_step(_LOAD, 16), _step(_EQUAL, 0, 1), kill, _step(_LOAD, 20), _step(_EQUAL, 0, 1), kill)
    steps.append(_for_call(_MMAP, *executable, *anywhere, allow))
    # Allowed only as fork_at_each_byte() and die_with_parent() call them, and only for the calling process, which is 0.
    # A limit on CPU time may not be set: the kernel enforces it by SIGKILL, which looks like a kill from outside.
    for number, wanted in (
        (_SYS_CLONE, {0: _CLONE_PARENT | _CLONE_CHILD_SETTID | _SIGCHLD}),
        (_PRCTL, {0: _PR_SET_PDEATHSIG, 1: _SIGKILL}),
        (_MREMAP, {3: _MREMAP_MAYMOVE}),
        (_SETPGID, {0: 0, 1: 0}),
        (_SYS_SCHED_SETAFFINITY, {0: 0}),
        (_PRLIMIT, {0: 0, 1: resource.RLIMIT_NPROC}),
        (_PRLIMIT, {0: 0, 1: resource.RLIMIT_AS}),
    ):
        checks = []
        for n, (argument, value) in enumerate(wanted.items()):
            remaining = 2 * (len(wanted) - n - 1) + 1
            checks += [_step(_LOAD, 16 + 8 * argument), _step(_EQUAL, value, 0, remaining)]
        steps += [_step(_EQUAL, number, 0, len(checks) + 1), *checks, allow, _step(_LOAD, 0)]
    return b"".join([*steps, fail])


class _BpfProgram(ctypes.Structure):
    _fields_ = [("steps", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def filter_system_calls(more_filters: bool = False) -> None:
    """Every system call but the listed ones fails with EPERM from now on. `more_filters`: forbid_forks may follow."""
    fail = _step(_RETURN, _FAIL)
    last = _for_call(_SYS_SECCOMP, _step(_RETURN, _ALLOW)) if more_filters else b""
    _install(_filter()[: -len(fail)] + last + fail)


def forbid_forks() -> None:
    """clone and further filters fail, too. A second filter costs a process more than all other steps together."""
    fail = _step(_RETURN, _FAIL)
    _install(_step(_LOAD, 0) + _for_call(_SYS_CLONE, fail) + _for_call(_SYS_SECCOMP, fail) + _step(_RETURN, _ALLOW))


def _install(steps: bytes) -> None:
    program = _BpfProgram(len(steps) // 8, steps)
    set_mode_filter, allow_speculation = 1, 4  # without this flag older kernels slow down the whole process
    _checked(_libc.syscall(_SYS_SECCOMP, set_mode_filter, allow_speculation, ctypes.byref(program)))
