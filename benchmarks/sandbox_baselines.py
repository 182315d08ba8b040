"""Ways to run programs without isolation, that benchmarks/sandbox.py compares with.

    python sandbox_baselines.py one     run the program on standard input in this interpreter
    python sandbox_baselines.py loop    for each line, a JSON list of programs, fork and run them one by one

The forking processes must be as small as possible, so modules that the loop does not need are imported where they are
used.
"""

import io
import json
import os
import resource
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np

GRIDS = [((np.arange(100) * (7 * k + 3) // 4) % 10).astype(np.int8).reshape(10, 10) for k in range(4)]
ANSWERS = [grid[::-1] for grid in GRIDS]
MAX_SIDE = 30

FORBIDDEN = ("logging", "threading", "datetime", "multiprocessing", "time", "os.path", "hashlib", "subprocess")
PRELUDE = """\
from typing import List, Tuple
import numpy as np
import numpy
from arc_precision.sandbox.barc_library import *
"""


class BadOutput(Exception):
    pass


def checked(outputs: list) -> list[np.ndarray]:
    grids = [np.array(output, dtype=int) for output in outputs]
    for grid in grids:
        if grid.ndim != 2 or not 0 < min(grid.shape) <= max(grid.shape) <= MAX_SIDE:
            raise BadOutput
        if grid.min() < 0 or grid.max() > 9:
            raise BadOutput
    return grids


def execute(program: str) -> str:
    """Run a program and check its outputs, without any protection."""
    try:
        namespace: dict = {}
        exec(program, namespace)
        checked([namespace["transform"](grid.astype(int)) for grid in GRIDS])
        return "ok"
    except BadOutput:
        return "invalid_output"
    except Exception:
        return "exception"


def _raise_timeout(*_):
    raise TimeoutError


def execute_guarded(program: str, grids: list[np.ndarray]) -> dict:
    """`execute` in a long-lived process: with an alarm, a limit on memory, forbidden words, and no printing."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGALRM, _raise_timeout)
    try:
        if any(f"{module}." in program or f"import {module}" in program for module in FORBIDDEN):
            return {"status": "forbidden"}
        namespace: dict = {}
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                exec(PRELUDE + program, namespace)
                outputs = [namespace["transform"](grid.astype(int)) for grid in grids]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return {"status": "ok", "outputs": checked(outputs)}
    except BadOutput:
        return {"status": "invalid_output"}
    except TimeoutError:
        return {"status": "timeout"}
    except Exception as error:
        return {"status": "exception", "message": str(error)}


def execute_and_score(completion: str, task: dict[str, list[dict[str, np.ndarray]]]) -> dict:
    """The work of one call to a worker of the notebook's runner: find the program, run it, score and fingerprint the
    outputs, and return everything."""
    import hashlib

    program = completion.split("```python")[1].split("```")[0]
    pairs = task["train"] + task["test"]
    result = execute_guarded(program, [pair["input"] for pair in pairs])
    result |= {"completion": completion, "program": program, "inputs": [pair["input"] for pair in pairs]}
    if result["status"] == "ok":
        fingerprint = hashlib.sha256()
        for output in result["outputs"]:
            fingerprint.update(str(output.shape).encode() + output.tobytes())
        scores = [slid_score(output, pair["output"]) for output, pair in zip(result["outputs"], pairs, strict=True)]
        result |= {"fingerprint": fingerprint.hexdigest(), "scores": scores}
    return result


def slid_score(output: np.ndarray, answer: np.ndarray) -> float:
    """The share of equal cells at the best of all places at which one grid can be laid on the other, tried one by
    one."""
    if output.shape == answer.shape:
        return float(np.mean(output == answer))
    (h, w), (a, b) = output.shape, answer.shape
    best = 0
    for down in range(1 - a, h):
        for right in range(1 - b, w):
            part = output[max(0, down) : a + down, max(0, right) : b + right]
            other = answer[max(0, -down) : h - down, max(0, -right) : w - right]
            best = max(best, int(np.count_nonzero(part == other)))
    return best / (max(h, a) * max(w, b))


def fork_loop() -> None:
    for line in sys.stdin:
        statuses = []
        for program in json.loads(line):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.write(writer, execute(program).encode())
                os._exit(0)
            os.close(writer)
            statuses.append(os.read(reader, 100).decode())
            os.close(reader)
            os.waitpid(pid, 0)
        print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "loop":
        fork_loop()
    else:
        print(execute(sys.stdin.read()), end="")
