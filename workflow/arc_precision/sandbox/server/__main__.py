"""The sandbox's own process tree, started by pool.py as `python -S <this folder> <config in JSON>`.

    launcher      waits; ends everything when the caller is gone
      init        has numpy and the program libraries loaded; the first process of its namespace where there is one
        worker    one for each byte that the caller writes: see worker.py
          zygote  forks a process for each program, as the worker's child: see zygote.py
          program one per job: see program.py

Three descriptors lead to the caller: from 0 each worker takes a socket of its own, on 1 the level goes out and the
bytes come in, and 2 is for errors. So no process but a worker has seen anything that depends on how many workers there
are, and the memory of all zygotes is alike.

The caller's process holds models and engines and is never forked; this tree is all there is of the sandbox. Nothing
here but the protocol is imported by the library.
"""

import gc
import importlib.machinery
import importlib.util
import json
import os
import resource
import sys
import time

import descriptors
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


def load_libraries(paths: dict[str, str]) -> bool:
    """Load all that a program may import, and leave no way to import anything else.

    Returns whether some of it had to be compiled and is there in compiled form now.
    """
    import program_determinism

    loader, compiled = importlib.machinery.SourceFileLoader, []
    set_data = loader.set_data

    def noted(self, path: str, data: bytes, **options) -> None:
        set_data(self, path, data, **options)
        compiled.append(os.path.exists(path))

    loader.set_data = noted
    sys.modules.update(dict.fromkeys(UNNEEDED))
    sys.modules["secrets"] = program_determinism.replace_entropy()
    for name in PROGRAM_MODULES:
        importlib.import_module(name)
    for name in (*UNNEEDED, "secrets"):
        del sys.modules[name]
    sys.modules["numpy"].random.seed(0)
    for name, path in paths.items():
        spec = importlib.util.spec_from_file_location(name, path)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    import worker  # noqa: F401

    # What numpy brought along for dates reads the real clock.
    for name in ("datetime", "_datetime"):
        sys.modules.pop(name, None)
    sys.path.clear()
    sys.path_importer_cache.clear()
    return any(compiled)


def holds(step, *arguments, against=None) -> bool:
    """Whether an isolation step is allowed, and does not allow what it is `against`; tried in a process of its own."""
    pid, pidfd = isolation.fork()
    if pid == 0:
        held = granted(step, *arguments) and not (against is not None and granted(against))
        os._exit(0 if held else 1)
    os.close(pidfd)
    return os.waitpid(pid, 0)[1] == 0


def launch(config: dict, caller: int, namespaces: bool, passed: dict[str, int | None]) -> None:
    """Fork init and end with it, or when the caller is gone.

    It is the caller's process that counts: the thread that started us may end before it, and processes it forked may
    outlive it and hold on to its sockets.
    """
    pid, _ = isolation.fork()
    if pid == 0:
        isolation.die_with_parent()
        init(config, namespaces, **passed)
        os._exit(0)
    os.close(0)  # or the end of a worker would go unnoticed
    os.close(1)
    while os.getppid() == caller and os.waitpid(pid, os.WNOHANG)[0] == 0:
        time.sleep(0.2)


def init(config: dict, namespaces: bool, empty_root: int, null: int, proc: int | None) -> None:
    """Give up what this process and all that it forks will not need, fork the workers, and wait for their end."""
    import forks
    import program
    import program_determinism
    import worker

    own_memory_bytes = int(os.read(statm := os.open("/proc/self/statm", os.O_RDONLY), 100).split()[0])
    os.close(statm)
    layout = forks.layout()
    namespaces = namespaces and granted(isolation.enter_empty_root, empty_root)
    os.close(empty_root)
    granted(isolation.drop_capabilities)
    isolation.forbid_new_privileges()
    landlock = holds(isolation.restrict_with_landlock)
    filtered = holds(isolation.filter_system_calls, against=isolation.enter_namespaces)
    limit_holds = holds(isolation.set_limit, resource.RLIMIT_NPROC, 0, against=isolation.fork)
    limits = config["limits"] | {
        "own_memory_bytes": own_memory_bytes * resource.getpagesize(),
        "cores": os.sched_getaffinity(0),
        "descriptors": DESCRIPTORS,
        "landlock": landlock,
        "filtered": filtered,
        "forbid_forks": filtered and not limit_holds,
    }
    level = "rlimit"
    if filtered:
        level = ("namespaces", "full")[landlock] if namespaces else ("seccomp", "landlock")[landlock]

    program_determinism.replace_clocks(limits["wall_s"], program.overslept)
    if filtered:
        program_determinism.replace_identities()
    program.rehearse()
    isolation.forbid_core_dumps()
    os.write(1, json.dumps({"level": level}).encode() + b"\n")
    gc.disable()
    gc.collect()
    gc.freeze()  # the collector of a program's process leaves these objects, and their pages, alone
    if isolation.fork_at_each_byte(1):
        isolation.die_with_parent()
        os.sched_setaffinity(0, limits["cores"])
        try:
            worker.serve(0, null, proc, layout, limits)
        finally:
            os._exit(0)
    os.close(0)
    os.close(1)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def proc_folder() -> int | None:
    try:
        return os.open("/proc", os.O_RDONLY)
    except OSError:
        return None


def main() -> None:
    caller = os.getppid()
    config = json.loads(sys.argv[1])
    if len(sys.argv) == 2:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        granted(isolation.fix_addresses)  # containers may refuse it
        os.execv(sys.executable, [*sys.orig_argv, "addresses-fixed"])
    isolation.forget_random_bytes()
    sys.path.append(config["numpy_folder"])  # no other: Python remembers the names of all files in a folder
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out it is a program that goes, not the caller
    if load_libraries(config["libraries"]):  # memory is laid out in another way where a module is compiled
        os.execv(sys.executable, sys.orig_argv)
    passed = {"null": os.open(os.devnull, os.O_RDWR), "empty_root": descriptors.receive(0), "proc": proc_folder()}
    if os.getuid() == 0:
        granted(isolation.become_nobody)
    namespaces = holds(isolation.enter_namespaces) and granted(isolation.enter_namespaces)
    launch(config, caller, namespaces, passed)


main()
