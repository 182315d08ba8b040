"""The sandbox's own process tree, started by pool.py as `python -S <this folder> <config in JSON>`.

    launcher      waits; ends everything when the caller is gone
      init        has numpy and the program libraries loaded; the first process of its namespace where there is one
        worker    one per socket: see worker.py
          program one per job: see program.py

The caller's process holds models and engines and is never forked; this tree is all there is of the sandbox. Nothing
here but the protocol is imported by the library.
"""

import gc
import importlib.util
import json
import os
import resource
import sys
import time

import isolation

# What a program can import, besides `common` and `dsl`. A program's process cannot open files, so what is loaded
# before is all there is: the same on every machine and at every level.
PROGRAM_MODULES = (
    "__future__", "abc", "bisect", "builtins", "cmath", "collections", "collections.abc", "contextlib", "copy",
    "dataclasses", "decimal", "enum", "fractions", "functools", "heapq", "inspect", "io", "itertools", "json", "math",
    "numbers", "numpy", "numpy.char", "numpy.fft", "numpy.lib.stride_tricks", "numpy.linalg", "numpy.ma",
    "numpy.polynomial", "numpy.random", "numpy.rec", "numpy.typing", "operator", "os", "pprint", "queue", "random",
    "re", "statistics", "string", "struct", "sys", "textwrap", "threading", "time", "traceback", "types", "typing",
    "unicodedata", "warnings",
)  # fmt: skip
# Modules that do without these; every shared library makes every fork slower.
UNNEEDED = ("_json", "_opcode", "_pickle", "_queue", "_statistics")
STACK_BYTES = 8 << 20
DESCRIPTORS = 16


def granted(step, *arguments) -> bool:
    """Take an isolation step; whether the kernel allowed it."""
    try:
        step(*arguments)
    except OSError:
        return False
    return True


def load_libraries(paths: dict[str, str]) -> None:
    """Load all that a program may import, and leave no way to import anything else."""
    import determinism

    sys.modules.update(dict.fromkeys(UNNEEDED))
    sys.modules["secrets"] = determinism.replace_entropy()
    for name in PROGRAM_MODULES:
        importlib.import_module(name)
    for name in (*UNNEEDED, "secrets"):
        del sys.modules[name]
    sys.modules["numpy"].random.seed(0)
    for name, path in paths.items():
        spec = importlib.util.spec_from_file_location(name, path)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    import forks  # noqa: F401
    import worker  # noqa: F401

    sys.path.clear()
    sys.path_importer_cache.clear()


def holds(step, *arguments, against=None) -> bool:
    """Whether an isolation step is allowed, and does not allow what it is `against`; tried in a process of its own."""
    pid, pidfd = isolation.fork()
    if pid == 0:
        held = granted(step, *arguments) and not (against is not None and granted(against))
        os._exit(0 if held else 1)
    os.close(pidfd)
    return os.waitpid(pid, 0)[1] == 0


def launch(config: dict, caller: int, namespaces: bool, empty_root: int, null: int) -> None:
    """Fork init and end with it, or when the caller is gone.

    It is the caller's process that counts: the thread that started us may end before it, and processes it forked may
    outlive it and hold on to its sockets.
    """
    me = os.getpid()
    pid, _ = isolation.fork()
    if pid == 0:
        # The first process of a namespace sees a parent outside as number 0.
        isolation.die_with_parent(0 if namespaces else me)
        init(config, namespaces, empty_root, null)
    for job_fd in config["job_fds"]:  # or the end of a worker would go unnoticed
        os.close(job_fd)
    while os.getppid() == caller and os.waitpid(pid, os.WNOHANG)[0] == 0:
        time.sleep(0.2)


def init(config: dict, namespaces: bool, empty_root: int, null: int) -> None:
    """Give up what this process and all that it forks will not need, fork the workers, and wait for their end."""
    import determinism
    import forks
    import program
    import worker

    with open("/proc/self/statm") as file:
        own_memory_bytes = int(file.read().split()[0]) * resource.getpagesize()
    pieces = forks.private_pieces()
    namespaces = namespaces and granted(isolation.enter_empty_root, empty_root)
    os.close(empty_root)
    granted(isolation.drop_capabilities)
    isolation.forbid_new_privileges()
    landlock = granted(isolation.restrict_with_landlock)
    filtered = holds(isolation.filter_system_calls, against=isolation.enter_namespaces)
    limit_holds = holds(isolation.set_limit, resource.RLIMIT_NPROC, 0, against=isolation.fork)
    limits = config["limits"] | {
        "own_memory_bytes": own_memory_bytes,
        "cores": os.sched_getaffinity(0),
        "forbid_forks": filtered and not limit_holds,
    }
    level = "rlimit"
    if filtered:
        level = ("namespaces", "full")[landlock] if namespaces else ("seccomp", "landlock")[landlock]

    determinism.replace_clocks(limits["wall_s"], program.overslept)
    program.rehearse()
    for kind, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, DESCRIPTORS)):
        isolation.set_limit(kind, value)
    os.write(1, json.dumps({"level": level}).encode() + b"\n")
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    gc.disable()
    gc.collect()
    gc.freeze()  # the collector of a program's process leaves these objects, and their pages, alone
    me = os.getpid()
    for job_fd in config["job_fds"]:
        pid, pidfd = isolation.fork()
        if pid == 0:
            isolation.die_with_parent(me)
            for other in config["job_fds"]:
                if other != job_fd:
                    os.close(other)
            forks.collapse(pieces)
            started = os.pipe2(os.O_NONBLOCK)
            if filtered:
                isolation.filter_system_calls()
            try:
                worker.serve(job_fd, started, limits)
            finally:
                os._exit(0)
        os.close(pidfd)
    for job_fd in config["job_fds"]:
        os.close(job_fd)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)


def main() -> None:
    caller = os.getppid()
    config = json.loads(sys.argv[1])
    if len(sys.argv) == 2:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        granted(isolation.fix_addresses)  # containers may refuse it
        os.execv(sys.executable, [*sys.orig_argv, "addresses-fixed"])
    sys.path += config["python_path"]
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out it is a program that goes, not the caller
    load_libraries(config["libraries"])
    null = os.open(os.devnull, os.O_RDWR)
    empty_root = os.open(config["empty_root"], os.O_RDONLY)
    if os.getuid() == 0:
        granted(isolation.become_nobody)
    namespaces = holds(isolation.enter_namespaces) and granted(isolation.enter_namespaces)
    launch(config, caller, namespaces, empty_root, null)


main()
