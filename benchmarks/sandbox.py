"""The speed of the sandbox, against four ways to run programs without isolation.

    python benchmarks/sandbox.py [--rounds 5] [--workers 1 2] [--output benchmark.json]

- fork: in each worker a bare loop of fork, `exec`, wait, in an interpreter that has loaded numpy and nothing else
- notebook: joblib (loky) workers as in the notebook of docs/arc25.md: `exec` under an alarm
  with words that are forbidden, then score the outputs in the worker. Here the sandbox's outputs are scored, too
- exec: the same joblib workers without the scoring
- cold: one new interpreter per program, as many at a time as there are workers

All run one fixed mix of programs, each on four grids of 10 x 10. Rounds are interleaved, so that other work on the
machine hits all alike; ratios are taken within a round, and their median is printed. "bulk" hands over all programs at
once, "batches of 8" eight at a time, as training does. Batches of 64 in which programs repeat run with one run for all
equal ones, and without. `--output` writes the figures as JSON as well.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKFLOW = HERE.parent / "workflow"
sys.path.insert(0, str(WORKFLOW))
os.environ["PYTHONPATH"] = f"{HERE}:{WORKFLOW}"  # for the workers of joblib

from joblib import Parallel, delayed  # noqa: E402
from origin import origin  # noqa: E402
from sandbox_baselines import ANSWERS, GRIDS, execute_and_score, execute_guarded  # noqa: E402

from arc_precision.sandbox import Limits, Sandbox, run_each_once  # noqa: E402
from arc_precision.scoring.rewards import grid_scores  # noqa: E402

LIMITS = Limits(cpu_s=1.0)
LOOP_LIMITS = Limits(cpu_s=0.2)  # the time of endless loops is subtracted later, so a short limit will do
BATCH = 8
REPEATING_BATCH, DISTINCT = 64, 16  # completions of a group become alike as training goes on

FLIP = """\
import numpy as np
from typing import *

# concepts: symmetry
# description: mirror the grid from top to bottom
def transform(input_grid: np.ndarray) -> np.ndarray:
    output_grid = np.zeros_like(input_grid)
    n, m = input_grid.shape
    for x in range(n):
        for y in range(m):
            output_grid[n - 1 - x, y] = input_grid[x, y]
    return output_grid
"""
OBJECTS = """\
import numpy as np
from collections import deque

def find_objects(grid, background=0):
    seen = np.zeros(grid.shape, dtype=bool)
    objects = []
    for x in range(grid.shape[0]):
        for y in range(grid.shape[1]):
            if grid[x, y] == background or seen[x, y]:
                continue
            color, cells, queue = grid[x, y], [], deque([(x, y)])
            seen[x, y] = True
            while queue:
                i, j = queue.popleft()
                cells.append((i, j))
                for di, dj in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                    a, b = i + di, j + dj
                    if 0 <= a < grid.shape[0] and 0 <= b < grid.shape[1] and not seen[a, b] and grid[a, b] == color:
                        seen[a, b] = True
                        queue.append((a, b))
            objects.append(cells)
    return objects

def transform(input_grid):
    output_grid = np.zeros_like(input_grid)
    objects = find_objects(input_grid)
    for cells in sorted(objects, key=len)[-3:]:
        for x, y in cells:
            output_grid[x, y] = input_grid[x, y]
    return output_grid
"""
RECOLOR = """\
import numpy as np

def transform(input_grid):
    colors, counts = np.unique(input_grid[input_grid != 0], return_counts=True)
    if len(colors) == 0:
        return input_grid.copy()
    most, least = colors[np.argmax(counts)], colors[np.argmin(counts)]
    output_grid = input_grid.copy()
    output_grid[input_grid == most] = least
    output_grid[input_grid == least] = most
    return output_grid
"""
TILE = """\
def transform(grid):
    rows = [list(row) + list(row)[::-1] for row in grid]
    return rows + rows[::-1]
"""
SORT = """\
import numpy as np

def transform(grid):
    rows = sorted(grid.tolist(), key=lambda row: (sum(1 for cell in row if cell), row))
    return np.array(rows)
"""
OUT_OF_RANGE = """\
import numpy as np

def transform(input_grid):
    output = np.copy(input_grid)
    h, w = input_grid.shape
    for i in range(h):
        for j in range(w):
            if input_grid[i, j] == 5:
                output[i + 1, j + 1] = input_grid[i + 1, j]
    return output
"""
BAD_VALUE = """\
import numpy as np

def transform(input_grid):
    top, bottom = np.where(input_grid == 11)[0].min(), np.where(input_grid == 11)[0].max()
    return input_grid[top : bottom + 1]
"""
BAD_SYNTAX = "import numpy as np\n\ndef transform(grid)\n    return np.rot90(grid)\n"
NOT_A_GRID = "def transform(grid):\n    return grid.sum(axis=0)\n"
ENDLESS = "def transform(grid):\n    while True:\n        grid = grid[::-1]\n"

MIX = [FLIP, OBJECTS, RECOLOR, FLIP, SORT, OUT_OF_RANGE, TILE, OBJECTS, BAD_VALUE, RECOLOR, NOT_A_GRID, BAD_SYNTAX]


def programs(n: int) -> list[str]:
    """`n` different programs."""
    return [f"{MIX[i % len(MIX)]}\n# {i}\n" for i in range(n)]


Runner = Callable[[list[str]], list[str]]


@contextlib.contextmanager
def sandbox_runner(workers: int, scored: bool = False) -> Iterator[Runner]:
    with Sandbox(LIMITS, workers) as sandbox:
        print(f"sandbox level: {sandbox.level}", file=sys.stderr)

        def run(batch: list[str]) -> list[str]:
            statuses = []
            for verdict in sandbox.run(batch, [GRIDS] * len(batch)):
                if scored and verdict.status == "ok":
                    grid_scores(verdict.outputs, ANSWERS)
                statuses.append(verdict.status)
            return statuses

        yield run


@contextlib.contextmanager
def fork_runner(workers: int) -> Iterator[Runner]:
    command = [sys.executable, str(HERE / "sandbox_baselines.py"), "loop"]
    with contextlib.ExitStack() as stack:
        loops = [
            stack.enter_context(subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(workers)
        ]

        def run(batch: list[str]) -> list[str]:
            for worker, loop in enumerate(loops):
                print(json.dumps(batch[worker::workers]), file=loop.stdin, flush=True)
            shares = [json.loads(loop.stdout.readline()) for loop in loops]
            return [shares[i % workers][i // workers] for i in range(len(batch))]

        yield run


@contextlib.contextmanager
def notebook_runner(workers: int) -> Iterator[Runner]:
    pairs = [{"input": grid, "output": answer} for grid, answer in zip(GRIDS, ANSWERS, strict=True)]
    task = {"train": pairs[:3], "test": pairs[3:]}
    parallel = Parallel(n_jobs=workers, backend="loky", prefer="processes", batch_size="auto")

    def run(batch: list[str]) -> list[str]:
        completions = [f"Here is the program.\n```python\n{program}```" for program in batch]
        return [r["status"] for r in parallel(delayed(execute_and_score)(text, task) for text in completions)]

    yield run


@contextlib.contextmanager
def exec_runner(workers: int) -> Iterator[Runner]:
    parallel = Parallel(n_jobs=workers, backend="loky", prefer="processes", batch_size="auto")
    yield lambda batch: [r["status"] for r in parallel(delayed(execute_guarded)(program, GRIDS) for program in batch)]


@contextlib.contextmanager
def cold_runner(workers: int) -> Iterator[Runner]:
    command = [sys.executable, str(HERE / "sandbox_baselines.py"), "one"]

    def run_one(program: str) -> str:
        return subprocess.run(command, input=program, capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(workers) as pool:
        yield lambda batch: list(pool.map(run_one, batch))


RUNNERS = {
    "sandbox": sandbox_runner,
    "sandbox+scores": lambda workers: sandbox_runner(workers, scored=True),
    "fork": fork_runner,
    "notebook": notebook_runner,
    "exec": exec_runner,
    "cold": cold_runner,
}
COMPARED = {"fork": "sandbox", "notebook": "sandbox+scores", "exec": "sandbox", "cold": "sandbox"}


def seconds(run: Runner, batches: list[list[str]]) -> list[float]:
    times = []
    for batch in batches:
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return times


def measure(workers: int, rounds: int, n_bulk: int) -> dict:
    bulk = programs(n_bulk)
    few = bulk[: max(BATCH, n_bulk // 20) // BATCH * BATCH]  # cold interpreters are too slow for more
    rates: dict[str, dict[str, list[float]]] = {name: {"bulk": [], "batches": []} for name in RUNNERS}
    batch_ms: dict[str, list[float]] = {name: [] for name in RUNNERS}
    loop_share = []
    with contextlib.ExitStack() as stack:
        runs = {name: stack.enter_context(runner(workers)) for name, runner in RUNNERS.items()}
        statuses = {name: run(few[: len(MIX)]) for name, run in runs.items()}  # this also warms up
        for name in RUNNERS:
            if statuses[name] != statuses["sandbox"]:
                raise AssertionError(f"{name} disagrees: {statuses[name]} instead of {statuses['sandbox']}")
        for _ in range(rounds):
            for name, run in runs.items():
                load = few if name == "cold" else bulk
                rates[name]["bulk"].append(len(load) / sum(seconds(run, [load])))
                batches = [load[start : start + BATCH] for start in range(0, len(load) // 2, BATCH)]
                times = seconds(run, batches)
                rates[name]["batches"].append(BATCH * len(batches) / sum(times))
                batch_ms[name] += [1000 * taken for taken in times]
        for _ in range(2):
            many = programs(5 * n_bulk)  # long: the last loop ends alone, and must not matter
            without = len(many) / sum(seconds(runs["sandbox"], [many]))
            loop_share.append(rate_with_loops(workers, many) / without)
    medians = {name: {kind: statistics.median(rate) for kind, rate in kinds.items()} for name, kinds in rates.items()}
    return {
        "programs_per_s": medians,
        "batch_of_8_median_ms": {name: statistics.median(times) for name, times in batch_ms.items()},
        "sandbox_ratio": {
            name: {
                kind: statistics.median(a / b for a, b in zip(rates[ours][kind], rates[name][kind], strict=True))
                for kind in ("bulk", "batches")
            }
            for name, ours in COMPARED.items()
        },
        "rate_with_5_percent_loops_to_rate_without": statistics.median(loop_share),
        "batch_of_64": reuse(workers, rounds),
    }


def reuse(workers: int, rounds: int) -> dict[str, float]:
    """The time of a batch in which each program occurs several times, with one run for all equal ones and without."""
    batch = programs(DISTINCT) * (REPEATING_BATCH // DISTINCT)
    grids = [GRIDS] * len(batch)
    with_ms, without_ms, shares = [], [], []
    with Sandbox(LIMITS, workers) as sandbox:
        for _ in range(10 * rounds):
            start = time.perf_counter()
            results = list(run_each_once(sandbox.run, batch, grids))
            between = time.perf_counter()
            verdicts = list(sandbox.run(batch, grids))
            without_ms.append(1000 * (time.perf_counter() - between))
            with_ms.append(1000 * (between - start))
            shares.append(statistics.mean(reused for _, reused in results))
            if [verdict.status for verdict, _ in results] != [verdict.status for verdict in verdicts]:
                raise AssertionError("a program has two verdicts")
    return {
        "reused_share": statistics.mean(shares),
        "median_ms": statistics.median(with_ms),
        "median_ms_without_reuse": statistics.median(without_ms),
    }


def rate_with_loops(workers: int, bulk: list[str]) -> float:
    """Programs per second if one in twenty never ends, after subtracting the CPU time of these loops."""
    mixed = [f"{ENDLESS}# {i}\n" if i % 20 == 10 else program for i, program in enumerate(bulk)]
    with Sandbox(LOOP_LIMITS, workers) as sandbox:
        start = time.perf_counter()
        verdicts = list(sandbox.run(mixed, [GRIDS] * len(mixed)))
        taken_s = time.perf_counter() - start
    loops = [verdict.cpu_s for verdict in verdicts if verdict.status == "timeout"]
    return (len(mixed) - len(loops)) / (taken_s - sum(loops) / workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", type=int, default=240, help="programs per round in bulk")
    parser.add_argument("--workers", type=int, nargs="+", default=sorted({1, len(os.sched_getaffinity(0))}))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    result = {str(workers): measure(workers, arguments.rounds, arguments.programs) for workers in arguments.workers}
    for workers, figures in result.items():
        print(f"\n{workers} worker(s)        bulk /s   in 8s /s   8 take ms   sandbox: bulk x   in 8s x")
        for name, rate in figures["programs_per_s"].items():
            row = f"{name:18}{rate['bulk']:10.0f}{rate['batches']:11.0f}{figures['batch_of_8_median_ms'][name]:12.1f}"
            ratio = figures["sandbox_ratio"].get(name)
            print(row + (f"{ratio['bulk']:18.2f}{ratio['batches']:11.2f}" if ratio else ""))
        share = figures["rate_with_5_percent_loops_to_rate_without"]
        print(f"with 5 % endless loops, beyond the loops' own CPU time: {share:.2f} of the rate without")
        repeated = figures["batch_of_64"]
        print(
            f"a batch of 64, {repeated['reused_share']:.0%} of it repetitions: {repeated['median_ms']:.1f} ms, "
            f"{repeated['median_ms_without_reuse']:.1f} ms where each program runs"
        )
    if arguments.output:
        arguments.output.write_text(json.dumps(origin("numpy", "joblib") | {"workers": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
