"""The cost of preparing BARC's tasks: the data rule's script beside `datasets.Dataset.from_generator`.

    PYTHONPATH=workflow python benchmarks/data.py --output benchmarks/results/data.json

A file in BARC's format is made up (grids of 10 to 30 cells a side, at most 4,500 cells a task), with a tokenizer like
Llama 3's whose chat template is Llama 3's. Four things are measured in one run, each in processes of its own:

    rule              workflow/scripts/train_candidates.py, all tasks
    rule, small       the same, as many tasks as the baseline gets
    rule, killed      the same as `rule`, killed without warning halfway and started again; its result must be the same
    from_generator    the same columns by the plain way: json.load, the chat template and the tokenizer for each prompt,
                      Dataset.from_generator, filter, to_parquet

Memory is the most that all processes of a measurement held together (proportional set size, sampled), and the highest
peak of any single process (VmHWM). On a shared machine a measurement gets less than its cores: `cores_used` is CPU time
over wall time. `tasks_per_core_s`, tasks over CPU time, depends less on other programs.
"""

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from origin import origin

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "unit"))

MAX_PROMPT_TOKENS = 8635
SAMPLE_S = 0.5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Make the input, measure, print a table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--baseline-tasks", type=int, default=4_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--inputs", type=Path, help="folder for the files made up; those already there are taken")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="folder with room for 5 GB")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        inputs = args.inputs or Path(folder)
        large, small = (inputs / f"barc-{n_tasks}.json.gz" for n_tasks in (args.tasks, args.baseline_tasks))
        cells = _make_input(Path(folder), {large: args.tasks, small: args.baseline_tasks})
        rule = _rule(Path(folder), large, args.workers)
        print("measuring the rule", file=sys.stderr)
        results = {"rule": {"tasks": args.tasks, **_measure(rule)}}
        first = _digest(Path(folder))
        print("measuring the rule, killed", file=sys.stderr)
        half_s = results["rule"]["wall_s"] / 2
        killed = _measure(rule, kill_after_s=half_s)
        parts_left = len(list(Path(folder).glob("candidates.parquet.parts/*/*/*.arrow")))
        results["rule, killed"] = {
            "tasks": args.tasks,
            **_measure(rule),
            "killed_after_s": killed["wall_s"],
            "parts_left": parts_left,
            "same_result": _digest(Path(folder)) == first,
        }
        print("measuring the rule, small", file=sys.stderr)
        results["rule, small"] = {
            "tasks": args.baseline_tasks,
            **_measure(_rule(Path(folder), small, args.workers)),
        }
        print("measuring from_generator", file=sys.stderr)
        baseline = [sys.executable, "-c", "import data, sys; data.from_generator(*sys.argv[1:])"]
        results["from_generator"] = {
            "tasks": args.baseline_tasks,
            **_measure([*baseline, str(small), folder, str(Path(folder, "baseline.parquet"))]),
        }
        same = _same_rows(Path(folder, "candidates.parquet"), Path(folder, "baseline.parquet"))
    for result in results.values():
        result["tasks_per_s"] = result["tasks"] / result["wall_s"]
        result["cores_used"] = result["cpu_s"] / result["wall_s"]
        result["tasks_per_core_s"] = result["tasks"] / result["cpu_s"]
    print(_table(results))
    record = {
        **origin("numpy", "pyarrow", "transformers", "datasets"),
        "workers": args.workers,
        "cells_per_task": cells,
        "rows_equal_baseline": same,
        "results": results,
    }
    if args.output:
        args.output.write_text(json.dumps(record, indent=2) + "\n")
    else:
        print(json.dumps(record, indent=2))


def _make_input(folder: Path, n_tasks: dict[Path, int]) -> float:
    """Write the tokenizer and the missing BARC files; return the mean number of cells of a task."""
    from synthetic import chat_tokenizer, random_task, write_barc_file

    from arc_precision.prompt_templates import ShownTask, load_template
    from arc_precision.prompts import barc_question

    rng = np.random.default_rng(0)
    tasks = [random_task(rng, min_side=10) for _ in range(50)]
    chat = load_template("barc").render(ShownTask(tasks[0], 0))
    chat_tokenizer([chat.system + chat.assistant] + [barc_question(task, 0) for task in tasks]).save_pretrained(folder)
    for path, n in n_tasks.items():
        if path.exists():
            continue
        print(f"writing {n} tasks", file=sys.stderr)
        write_barc_file(path, n, seed=0)
    return float(np.mean([sum(pair.input.size + pair.output.size for pair in task.pairs) for task in tasks]))


def _rule(folder: Path, barc: Path, workers: int) -> list[str]:
    """The command of the rule."""
    slice = {
        "prompt": "barc",
        "sources.barc.kind": "barc",
        "sources.barc.path": "-",
        "data.train_on": ["barc"],
        "data.max_prompt_tokens": MAX_PROMPT_TOKENS,
    }
    command = [sys.executable, ROOT / "workflow/scripts/train_candidates.py", "--model", folder, "--workers", workers]
    command += ["--slice", *(f"{key}={json.dumps(value)}" for key, value in slice.items())]
    command += ["--paths", json.dumps({"barc": str(barc)})]
    command += ["--output", folder / "candidates.parquet", "--manifest", folder / "candidates.json"]
    return [str(word) for word in command]


def from_generator(barc: str, model: str, output: str) -> None:
    """The plain way, in this process."""
    import gzip

    from datasets import Dataset
    from transformers import AutoTokenizer

    from arc_precision.prompts import render
    from arc_precision.tasks.augment import draw_augmentation, row_rng
    from arc_precision.tasks.canonical import canonical_key
    from arc_precision.tasks.grids import task_from_json

    tokenizer = AutoTokenizer.from_pretrained(model)

    def pairs(some):
        return [{"input": pair.input.tolist(), "output": pair.output.tolist()} for pair in some]

    def rows():
        with gzip.open(barc) as file:
            tasks = json.load(file)
        for task_id, data in tasks.items():
            original = task_from_json(task_id, data, barc)
            rng = row_rng(0, "barc", task_id, 0)
            augmentation = draw_augmentation(rng, len(original.train))
            task = augmentation.apply_to_task(original)
            test_index = int(rng.integers(len(task.test)))
            prompt = render("barc", task, test_index, tokenizer)
            yield {
                "row_id": f"barc/{task_id}/0",
                "train": pairs(task.train),
                "test": pairs(task.test),
                "test_index": test_index,
                "augmentation": augmentation.to_json(),
                "prompt": prompt,
                "prompt_tokens": len(tokenizer(prompt, add_special_tokens=False).input_ids),
                "canonical": canonical_key(original),
            }

    with tempfile.TemporaryDirectory() as cache:
        dataset = Dataset.from_generator(rows, cache_dir=cache)
        dataset = dataset.filter(lambda row: row["prompt_tokens"] <= MAX_PROMPT_TOKENS)
        dataset.to_parquet(output)


def _same_rows(ours: Path, theirs: Path) -> bool:
    """Whether both ways gave the same rows, in all columns that the baseline has."""
    import pyarrow.parquet as pq

    columns = ["row_id", "train", "test", "test_index", "augmentation", "prompt", "prompt_tokens", "canonical"]
    ours, theirs = (pq.ParquetFile(path).iter_batches(500, columns=columns) for path in (ours, theirs))
    return all(one.to_pylist() == other.to_pylist() for one, other in zip(ours, theirs, strict=True))


def _measure(command: list[str], kill_after_s: float | None = None) -> dict[str, float]:
    """Run a command in a session of its own and watch all its processes.

    Raises:
        subprocess.CalledProcessError: it failed, other than by being killed here.
    """
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT / 'benchmarks'}"}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    cpu_s: dict[int, float] = {}
    peak_mb: dict[int, float] = {}
    together_mb = 0.0
    while process.poll() is None:
        held_mb = 0.0
        for pid in _session(process.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the process has just ended
                cpu_s[pid] = _cpu_s(pid)
                peak_mb[pid] = max(peak_mb.get(pid, 0), _kb(pid, "status", "VmHWM:") / 1024)
                held_mb += _kb(pid, "smaps_rollup", "Pss:") / 1024
        together_mb = max(together_mb, held_mb)
        if kill_after_s is not None and time.perf_counter() - started > kill_after_s:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(SAMPLE_S)
    if process.returncode and kill_after_s is None:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {
        "wall_s": time.perf_counter() - started,
        "cpu_s": sum(cpu_s.values()),
        "peak_together_mb": together_mb,
        "peak_process_mb": max(peak_mb.values()),
    }


def _session(leader: int) -> list[int]:
    """The processes of a session."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                pids.append(int(stat.parent.name))
    return pids


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _kb(pid: int, file: str, key: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(key)), 0)


def _digest(folder: Path) -> str:
    with open(folder / "candidates.parquet", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _table(results: dict[str, dict]) -> str:
    columns = ["tasks", "tasks_per_s", "cores_used", "tasks_per_core_s", "peak_together_mb", "peak_process_mb"]
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    for name, result in results.items():
        numbers = [result[column] for column in columns]
        lines.append([name, *(f"{number:,.0f}" if number >= 10 else f"{number:.2f}" for number in numbers)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
