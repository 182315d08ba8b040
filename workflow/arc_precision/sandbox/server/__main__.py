"""The sandbox's own process tree, started by pool.py as `python -S <this folder> <config in JSON>`.

    launcher      waits; ends everything when the caller is gone
      init        has numpy and the program libraries loaded; the first process of its namespace where there is one
        worker    one for each byte that the caller writes: see worker.py
          zygote  forks a process for each program, as the worker's child: see zygote.py
          program one per job: see program.py

Three descriptors lead to the caller: each worker takes a socket of its own from 0, the level goes out and the bytes
come in on 1, and 2 is for errors. So only workers see anything that depends on the number of workers, and the memory of
all zygotes is alike.

The caller's process holds models and engines and is never forked: all processes of the sandbox are in this tree. The
library imports only the protocol from here.
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

# Modules that a program can import, with `common` and `dsl`. A program's process cannot open files, so it has exactly
# the modules that were loaded before: the same on every machine and at every level.
PROGRAM_MODULES = (
    "__future__", "abc", "bisect", "builtins", "cmath", "collections", "collections.abc", "contextlib", "copy",
    "dataclasses", "decimal", "enum", "fractions", "functools", "heapq", "inspect", "io", "itertools", "json", "math",
    "numbers", "numpy", "numpy.char", "numpy.fft", "numpy.lib.stride_tricks", "numpy.linalg", "numpy.ma",
    "numpy.polynomial", "numpy.random", "numpy.rec", "numpy.typing", "operator", "os", "pprint", "queue", "random",
    "re", "statistics", "string", "struct", "sys", "textwrap", "threading", "time", "traceback", "types", "typing",
    "unicodedata", "warnings",
)  # fmt: skip
# These are kept out, because every shared library makes every fork slower and the modules above work without them.
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
    """Load all modules that a program may import, and block the import of any other.

    Returns whether some module had to be compiled, and now exists in compiled form.
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

    # numpy has imported modules for dates that read the real clock.
    for name in ("datetime", "_datetime"):
        sys.modules.pop(name, None)
    sys.path.clear()
    sys.path_importer_cache.clear()
    return any(compiled)


def holds(step, *arguments, against=None) -> bool:
    """Whether an isolation step is allowed and prevents the act that it is `against`; tried in a process of its own."""
    pid, pidfd = isolation.fork()
    if pid == 0:
        held = granted(step, *arguments) and not (against is not None and granted(against))
        os._exit(0 if held else 1)
    os.close(pidfd)
    return os.waitpid(pid, 0)[1] == 0


def launch(config: dict, caller: int, namespaces: bool, passed: dict[str, int | None]) -> None:
    """Fork init and end with it, or when the caller is gone.

    The launcher watches the caller's process itself. The thread that started the launcher may end earlier, and
    processes that the caller forked may live longer and keep its sockets open.
    """
    pid, _ = isolation.fork()
    if pid == 0:
        isolation.die_with_parent()
        init(config, namespaces, **passed)
        os._exit(0)
    os.close(0)  # so that the end of a worker is noticed
    os.close(1)
    while os.getppid() == caller and os.waitpid(pid, os.WNOHANG)[0] == 0:
        time.sleep(0.2)


def init(config: dict, namespaces: bool, empty_root: int, null: int, proc: int | None) -> None:
    """Give up all rights that this process and its descendants will not need, fork the workers, and wait for their
    end."""
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
    gc.freeze()  # so that the collector of a program's process does not touch the pages of these objects
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
    sys.path.append(config["numpy_folder"])  # no other folder: Python remembers the names of all files in a folder
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # if memory runs out, the kernel should kill a program, not the caller
    if load_libraries(config["libraries"]):  # compiling a module changes the layout of memory
        os.execv(sys.executable, sys.orig_argv)
    passed = {"null": os.open(os.devnull, os.O_RDWR), "empty_root": descriptors.receive(0), "proc": proc_folder()}
    if os.getuid() == 0:
        granted(isolation.become_nobody)
    namespaces = holds(isolation.enter_namespaces) and granted(isolation.enter_namespaces)
    launch(config, caller, namespaces, passed)


main()
