"""Runs programs, each in a process of its own, under resource limits."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from arc_precision.sandbox.verdicts import LEVELS, Limits, Verdict

_CHILD = r"""
import json, sys, traceback
source, grids, max_side, paths = json.load(sys.stdin)
import numpy as np, importlib.util, os
for name, path in paths.items():
    if os.path.exists(path):
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
out, sys.stdout = sys.stdout, open(os.devnull, "w")
result = {}
try:
    space = {"__name__": "program"}
    exec(compile(source, "<program>", "exec"), space)
    outputs = []
    for grid in grids:
        output = space["transform"](np.array(grid, dtype=int))
        try:
            output = np.array(output, dtype=int)
            assert output.ndim == 2 and 0 < min(output.shape) and max(output.shape) <= max_side
            assert output.min() >= 0 and output.max() <= 9
            outputs.append(output.tolist())
        except Exception as error:
            result = {"status": "invalid_output", "message": str(error)}
            break
    else:
        result = {"status": "ok", "outputs": outputs}
except BaseException as error:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == "<program>"]
    status = "memory" if isinstance(error, MemoryError) else "exception"
    result = {"status": status, "exception_type": type(error).__name__, "exception_line": lines[-1] if lines else
              getattr(error, "lineno", None), "message": str(error)[:500]}
json.dump(result, out)
out.flush()
"""


class Sandbox:
    """A pool that can be kept open across calls."""

    def __init__(self, limits: Limits, workers: int = 1, min_level: str = "none"):
        if min_level not in LEVELS:
            raise ValueError(f"sandbox level {min_level!r} is unknown; write one of {', '.join(LEVELS)}")
        if LEVELS.index(min_level) > LEVELS.index("rlimit"):
            raise ValueError(f"sandbox level {min_level!r} cannot be had on this machine; it offers 'rlimit'")
        self.limits, self.workers, self.level = limits, workers, "rlimit"

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_) -> None:
        pass

    def run(self, programs: Iterable[str | None], grids: Iterable[Sequence[np.ndarray]]) -> Iterator[Verdict]:
        for program, inputs in zip(programs, grids, strict=True):
            yield Verdict("no_program") if program is None else self._run_one(program, inputs)

    def _run_one(self, program: str, grids: Sequence[np.ndarray]) -> Verdict:
        here = Path(__file__).parent
        paths = {"common": str(here / "common.py"), "dsl": str(here.parent / "tasks" / "dsl.py")}
        job = json.dumps([program, [np.asarray(grid).tolist() for grid in grids], self.limits.max_side, paths])

        def limit():
            seconds = int(self.limits.cpu_s + 1)
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

        try:
            done = subprocess.run([sys.executable, "-I", "-c", _CHILD], input=job, capture_output=True, text=True,
                                  timeout=self.limits.wall_s, preexec_fn=limit)  # fmt: skip
        except subprocess.TimeoutExpired:
            return Verdict("timeout")
        if done.returncode < 0:
            return Verdict("timeout")
        result = json.loads(done.stdout)
        outputs = result.pop("outputs", None)
        return Verdict(**result, outputs=outputs and tuple(np.array(grid, dtype=np.int8) for grid in outputs))


def run_programs(
    programs: Iterable[str | None],
    grids: Iterable[Sequence[np.ndarray]],
    limits: Limits,
    workers: int = 1,
    min_level: str = "none",
) -> Iterator[Verdict]:
    """Verdicts of programs in their order, each run on its own list of input grids."""
    with Sandbox(limits, workers, min_level) as sandbox:
        yield from sandbox.run(programs, grids)


def isolation_level() -> str:
    """The level this machine gives."""
    return "rlimit"
