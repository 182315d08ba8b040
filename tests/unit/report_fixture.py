"""Makes a results tree as the pipeline writes it, with a planted effect, for the tests of the report.

    PYTHONPATH=workflow python tests/unit/report_fixture.py FOLDER [--arms 3 --seeds 5 --checkpoints 20]

The numbers come from a seeded generator: they look like those of runs, but nothing was run.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from arc_precision.config.base import as_words, from_words
from arc_precision.config.experiment import load_experiment
from arc_precision.config.report import ReportSlice, declared
from arc_precision.contracts.costs import write_cost
from arc_precision.contracts.parquet import write_rows
from arc_precision.contracts.samples import SAMPLES
from arc_precision.contracts.scores import SCORES
from arc_precision.contracts.steps import SCHEMA_VERSION, STEP
from arc_precision.contracts.tasks import TASKS
from arc_precision.mismatch.chain import (
    available_orders,
    cause_table,
    counterfactual_table,
    observed_causes,
    settings_along,
)
from arc_precision.mismatch.metric_dictionary import METRICS
from arc_precision.mismatch.metrics import by_position, by_probability_decile, mismatch_metrics

DTYPES = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}
VERDICTS = ("ok", "exception", "invalid_output", "no_program", "timeout")


@dataclass
class Plan:
    """The design of the made-up experiment."""

    arms: tuple[str, ...] = ("float16", "bfloat16")
    seeds: tuple[int, ...] = (0, 1, 2)
    max_steps: int = 40
    segment_steps: int = 20
    evaluate_every: int = 20
    sets: tuple[str, ...] = ("arc-agi-1-training", "arc-agi-1-evaluation")
    n_tasks: int = 60
    n_samples: int = 4
    common_dtype: str = "float32"
    own_dtype: bool = True
    base_rate: float = 0.15  # mean share of completions that solve a task, before training
    gain: dict[str, float] = field(
        default_factory=dict
    )  # gain of the mean until the end of training, per arm; default 0.1
    seed_spread: float = 0.01  # standard deviation of the gain over seeds
    collapse_at: dict[tuple[str, int], int] = field(default_factory=dict)  # (arm, seed): reward falls to 0 here
    stop_at: dict[tuple[str, int], int] = field(default_factory=dict)  # (arm, seed): last step that exists
    fail_at: dict[tuple[str, int], int] = field(default_factory=dict)  # (arm, seed): stops here, its loss not finite
    missing: tuple[tuple[str, int], ...] = ()  # runs without any file
    nan_from: dict[tuple[str, int], int] = field(default_factory=dict)  # (arm, seed): metrics are null from this step
    audits: bool = True
    draw_once: bool = False  # all seeds and steps of an arm share one file of scores: quick, for tests of size
    collapse: dict = field(default_factory=dict)  # the section `collapse`
    top_p: dict[str, float] = field(default_factory=dict)
    sampling: dict[str, dict] = field(default_factory=dict)  # arm: changes of its sampling section
    grids: dict[str, dict] = field(default_factory=dict)  # the section `arm_grids`: its arms have no other changes
    mismatch: dict[str, float] = field(default_factory=dict)  # by arm: a factor on its mismatch
    overrides: dict[str, dict] = field(default_factory=dict)  # arm: changes of its training section
    isolation: dict[str, str] = field(default_factory=dict)
    environment: dict[str, dict[str, str]] = field(default_factory=dict)
    dirty: bool = False
    declared: dict | None = None  # before the runs; None: those that the report uses


def make_results(root: Path, plan: Plan) -> ReportSlice:
    """Write the tree under `root` and return the report's slice of the configuration."""
    slice = from_words(ReportSlice, report_slice(plan))
    write_data(root, plan)
    _write_scores(root, plan, "base", None, 0)
    for arm in plan.arms:
        for seed in plan.seeds:
            if (arm, seed) in plan.missing:
                continue
            last = plan.stop_at.get((arm, seed), plan.max_steps)
            _write_run(root, plan, slice, arm, seed, plan.fail_at.get((arm, seed), last))
            for step in range(plan.evaluate_every, last + 1, plan.evaluate_every):
                _write_scores(root, plan, arm, seed, step)
                if plan.audits:
                    _write_chain(root, arm, seed, step)
    return slice


def report_slice(plan: Plan) -> list[str]:
    """The slice of the configuration for the plan, in the workflow's own form: key=value lines."""
    experiment = load_experiment(
        {
            "experiment": "made-up",
            "max_steps": plan.max_steps,
            "run_arms": plan.arms,
            "seeds": plan.seeds,
            "evaluate_on": plan.sets,
            "arms": {
                arm: {
                    "trainer_dtype": _dtype(arm),
                    "sampler_dtype": _dtype(arm),
                    "training": plan.overrides.get(arm, {}),
                    "sampling": {"top_p": plan.top_p.get(arm, 1.0), **plan.sampling.get(arm, {})},
                }
                for arm in plan.arms
                if not plan.grids
            },
            "arm_grids": plan.grids,
            "training": {"segment_steps": plan.segment_steps},
            "evaluation": {"every": plan.evaluate_every, "n_samples": plan.n_samples},
            "audit": {"every": plan.evaluate_every},
            "collapse": plan.collapse,
            "report": {"baseline_arm": plan.arms[-1], "primary_set": plan.sets[-1], "bootstrap_samples": 500},
        }
    )
    return as_words(experiment.report_slice())


def _dtype(arm: str) -> str:
    return next(dtype for dtype in DTYPES if arm.startswith(dtype))


def _rng(*key) -> np.random.Generator:
    return np.random.default_rng([int.from_bytes(str(part).encode(), "little") for part in key])


def _write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


# Data


def write_data(root: Path, plan: Plan) -> None:
    for name in plan.sets:
        rows = []
        for number in range(plan.n_tasks):
            task = _task(name, number)
            rows.append(
                {
                    "row_id": task["task_id"],
                    "task_id": task["task_id"],
                    "source": name,
                    "train": task["train"],
                    "test": task["test"],
                    "test_index": 0,
                    "augmentation": None,
                    "prompt": f"prompt of {task['task_id']}",
                    "prompt_tokens": 200 + number,
                    "canonical": f"{number:064x}",
                    "seen_in_training": name.endswith("training"),
                }
            )
        path = root / "data" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(path, TASKS, [rows])
        _write_json(
            root / "data" / f"{name}.json", {"schema_version": 1, "sha256": f"{len(name):064x}", "rows": len(rows)}
        )
    for name in ("candidates", "train"):
        _write_json(root / "data" / f"{name}.json", {"schema_version": 1, "sha256": "a" * 64, "rows": 64})
    _write_json(
        root / "model" / "manifest.json",
        {
            "schema_version": 1,
            "path": "resources/tiny-arc",
            "dtype": "bfloat16",
            "files": {"model.safetensors": "b" * 64},
        },
    )


def _task(name: str, number: int) -> dict:
    rng = _rng("task", name, number)

    def pair() -> dict:
        grid = rng.integers(0, 10, size=rng.integers(3, 12, size=2))
        return {"input": grid.tolist(), "output": grid[::-1].tolist()}

    return {"task_id": f"{number:08x}", "train": [pair() for _ in range(3)], "test": [pair()]}


# Runs


def _write_run(root: Path, plan: Plan, slice: ReportSlice, arm: str, seed: int, last: int) -> None:
    folder = root / "runs" / arm / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    collapse = plan.collapse_at.get((arm, seed))
    rng = _rng("run", arm, seed)
    skipped_so_far = 0
    for first in range(1, last + 1, plan.segment_steps):
        to = min(first + plan.segment_steps - 1, last)
        steps, timing, kept = [], [], []
        for step in range(first, to + 1):
            row = _step(plan, arm, step, collapse, rng)
            skipped_so_far += row["skipped"]
            row["applied_steps"] = step - skipped_so_far
            if step >= plan.nan_from.get((arm, seed), 10**9):
                row = {
                    key: value if key in ("schema_version", "step", "applied_steps") else None
                    for key, value in row.items()
                }
                row |= {"nonfinite": True, "skipped": False}
            if step > plan.fail_at.get((arm, seed), 10**9) - 3:  # the loss scaler of float16 skips such updates
                row |= {"loss": None, "nonfinite": True, "skipped": arm.startswith("float16")}
            steps.append(row)
            completions = [_kept(step, place) for place in range(2)]
            kept.append({"schema_version": SCHEMA_VERSION, "step": step, "completions": completions})
            seconds = float(rng.uniform(2, 3))
            timing.append(
                {
                    "schema_version": SCHEMA_VERSION,
                    "step": step,
                    "step_s": seconds,
                    "generate_s": seconds / 2,
                    "sync_s": 0.1,
                    "reward_s": 0.1,
                    "logps_s": 0.0,
                    "loss_s": seconds / 5,
                    "backward_s": seconds / 5,
                    "other_s": 0.1,
                    "prompt_tokens": 6000,
                    "completion_tokens": 700,
                    "peak_gpu_memory_mb": None,
                }
            )
        name = first + plan.segment_steps - 1
        (folder / f"steps-{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
        (folder / f"timing-{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in timing))
        (folder / f"completions-{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
        status = "collapsed" if collapse and to > collapse + 10 else "running"
        status = "failed" if to == plan.fail_at.get((arm, seed)) else status
        _write_json(
            folder / f"facts-{name}.json",
            {
                "schema_version": SCHEMA_VERSION,
                "asked": {"trainer_dtype": _dtype(arm), "sampler_dtype": _dtype(arm)},
                "observed": {
                    "trainer_dtype": _dtype(arm),
                    "adapter_dtype": "float32",
                    "autocast_dtype": _dtype(arm),
                    "sampler_dtype": _dtype(arm),
                    "loss_scaler": arm.startswith("float16"),
                    "isolation_level": plan.isolation.get(arm, "full"),
                    "device": "cpu",
                },
                "versions": {"torch": "2.13.0", "trl": "1.16.0", "vllm": "0.31.0", "peft": "0.21.2"},
                "commit": "0123456789abcdef0123456789abcdef01234567",
                "dirty": plan.dirty,
                "environment": plan.environment.get(arm, {}),
                "config": slice.arms[arm],
                "status": status,
                "stopped_at": to if status == "failed" else None,
                "warnings": [],
                "declared": plan.declared or declared(slice),
            },
        )


def _kept(step: int, place: int) -> dict:
    return {
        "row_id": f"row {place}", "text": f"kept {place} of step {step}", "reward": 1.0, "verdict": "ok", "tokens": 7,
        "truncated": False, "sampler_logp_mean": -0.7, "log_ratio": 0.01 * place,
    }  # fmt: skip


def _step(plan: Plan, arm: str, step: int, collapse: int | None, rng: np.random.Generator) -> dict:
    progress = step / plan.max_steps
    alive = 1.0 if collapse is None or step < collapse else max(0.0, 1 - (step - collapse) / 5)
    rate = (plan.base_rate + plan.gain.get(arm, 0.1) * progress) * alive
    length = 30 * alive + 48 * (1 - alive) + rng.normal(0, 1)
    skipped = bool(arm.startswith("float16") and step == 1)
    sigma = DTYPES[_dtype(arm)] * 4 * plan.mismatch.get(arm, 1.0) * (1 + 2 * (1 - alive))
    sampler = -rng.exponential(0.7, size=(16, 30))
    trainer = sampler + rng.normal(0, sigma, size=sampler.shape)
    mismatch = mismatch_metrics(trainer, sampler, np.ones(sampler.shape, dtype=bool))
    counts = rng.multinomial(16, [0.6 * alive, 0.2, 0.1, 0.1 + 0.6 * (1 - alive), 0.0])
    row = {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "applied_steps": step,
        "loss": float(rng.normal(0, 0.01)),
        "learning_rate": 5e-4,
        "reward_mean": max(0.0, float((1 + 8 * rate) * alive + rng.normal(0, 0.1) * alive)),
        "reward_std": 2.0 * alive,
        "frac_reward_zero_std": min(1.0, 0.3 + 0.7 * (1 - alive)),
        "solved_share": min(1.0, max(0.0, rate + float(rng.normal(0, 0.02)) * alive)),
        "valid_share": 0.9 * alive,
        "completion_tokens_mean": float(length),
        "completion_tokens_max": 48,
        "truncated_share": 1 - alive,
        "unique_token_share": 0.5 * alive + 0.05,
        "grad_norm": float(np.exp(rng.normal(-2, 0.3))),
        "kl_base": None,
        "entropy": float(0.5 + 0.2 * alive + rng.normal(0, 0.02)),
        "clip_ratio": 0.0,
        "loss_scale": 65536.0 / (2 if step > 1 else 1) if arm.startswith("float16") else None,
        "skipped": skipped,
        "nonfinite": skipped,
        "verdicts": {name: int(count) for name, count in zip(VERDICTS, counts, strict=True)},
        "reused_share": 0.25,
        "lora_b_median_abs": 1e-5 * step,
        "lora_b_subnormal_share": max(0.0, 1 - step / 20),
    }
    assert row.keys() == STEP.keys()
    return row | {f"mismatch/{metric.key}": _finite(mismatch[metric.key]) for metric in METRICS}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


# Evaluation


def _write_scores(root: Path, plan: Plan, arm: str, seed: int | None, step: int) -> None:
    own = {_dtype(a) for a in plan.arms} if arm == "base" else {_dtype(arm)}
    dtypes = {plan.common_dtype} | (own if plan.own_dtype else set())
    folder = Path(arm) / (f"seed-{seed}" if seed is not None else "") / f"step-{step}"
    for name in plan.sets:
        for dtype in sorted(dtypes):
            file = f"{name}.{dtype}.parquet"
            first = Path(arm) / f"seed-{plan.seeds[0]}" / f"step-{plan.evaluate_every}" / file
            rows = None
            for kind, schema in (("scores", SCORES), ("samples", SAMPLES)):
                path = root / kind / folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                if plan.draw_once and (root / kind / first).exists():
                    path.hardlink_to(root / kind / first)
                    continue
                rows = rows or list(_score_rows(plan, arm, seed, step, name, dtype))
                write_rows(path, schema, [rows if kind == "scores" else [_sample_row(row) for row in rows]])
            write_cost(root / "samples" / folder / f"{name}.{dtype}.json", 3.0, [100] * plan.n_tasks, plan.n_samples)


def _score_rows(plan: Plan, arm: str, seed: int | None, step: int, name: str, dtype: str):
    collapse = plan.collapse_at.get((arm, seed)) if seed is not None else None
    spread = float(_rng("spread", arm, seed).normal(0, plan.seed_spread)) if seed is not None else 0.0
    gain = (plan.gain.get(arm, 0.1) + spread) * step / plan.max_steps if arm != "base" else 0.0
    rate = np.clip(plan.base_rate + gain, 0, 1)
    if collapse is not None and step > collapse + 5:
        rate = 0.0
    difficulty = _rng("difficulty", name).beta(0.5, 1.5, size=plan.n_tasks)  # the same tasks are hard for every arm
    rng = _rng("draw", name, dtype, step, 0 if seed is None else seed)  # the same draws for every arm: paired
    draws = rng.uniform(size=(plan.n_tasks, plan.n_samples))
    for number in range(plan.n_tasks):
        task = _task(name, number)
        chance = np.clip(difficulty[number] * rate * 4, 0, 1)
        for sample in range(plan.n_samples):
            draw = draws[number, sample]
            solved = bool(draw < chance)
            verdict = "ok" if solved or draw < 0.8 else "exception"
            pairs = task["train"] + task["test"]
            grids = [pair["output"] if solved else pair["input"] for pair in pairs]
            program = f"def transform(grid):\n    return grid{'[::-1]' if solved else ''}  # {sample}\n"
            yield {
                "row_id": task["task_id"],
                "task_id": task["task_id"],
                "sample": sample,
                "verdict": verdict,
                "exception_type": None if verdict == "ok" else "IndexError",
                "exception_line": None if verdict == "ok" else 2,
                "program": program,
                "outputs": grids if verdict == "ok" else None,
                "train_correct": 3 if solved else 0,
                "train_total": 3,
                "test_correct": 1 if solved else 0,
                "test_total": 1,
                "train_pixels": 1.0 if solved else 0.3 if verdict == "ok" else 0.0,
                "test_pixels": 1.0 if solved else 0.3 if verdict == "ok" else 0.0,
                "solved": solved,
                "reward": 10.0 if solved else 1.0 if verdict == "ok" else 0.0,
                "completion_tokens": 20 + sample,
                "truncated": False,
                "seen_in_training": name.endswith("training"),
            }


def _sample_row(score: dict) -> dict:
    return {
        "row_id": score["row_id"],
        "sample": score["sample"],
        "completion": f"```python\n{score['program']}```",
        "token_ids": [1, 2, 3],
        "logprobs": [-0.1, -0.2, -0.3],
        "truncated": score["truncated"],
    }


# Audit


def _write_chain(root: Path, arm: str, seed: int, step: int) -> None:
    rng = _rng("chain", arm, seed, step)
    ulp, shape = DTYPES[_dtype(arm)], (32, 200)
    sampler = -rng.exponential(0.7, size=shape)
    parts = [rng.normal(0, scale, size=shape) for scale in (3 * ulp, 1e-6, 3 * ulp, ulp)]
    start, causes = observed_causes(_dtype(arm), _dtype(arm), merged=False)
    logps = sampler + np.cumsum([np.zeros(shape), *reversed(parts)], axis=0)[::-1]
    scored = dict(zip(settings_along(start, causes), logps, strict=True))
    mask = np.ones(shape, dtype=bool)
    trainer = logps[0]
    counterfactuals = counterfactual_table(
        trainer, sampler, {"top_p 0.95": (sampler, sampler + rng.uniform(0, 0.051, size=shape))}, mask
    )
    _write_json(
        root / "audit" / arm / f"seed-{seed}" / f"step-{step}" / "chain.json",
        {
            "schema_version": 2,
            "trainer_dtype": _dtype(arm),
            "sampler_dtype": _dtype(arm),
            "trainer_head": "model",
            "sampler_head": "model",
            "float8": False,
            "merged": False,
            "sampling": {"repetition_penalty": 1.0, "top_k": 0, "top_p": 1.0},
            "causes": _records(cause_table(scored, start, causes, mask).rename_axis("cause").reset_index()),
            "orders": [[cause.name for cause in order] for order in available_orders(scored, start, causes)],
            "counterfactuals": _records(counterfactuals.assign(in_effect=False).rename_axis("name").reset_index()),
            "metrics": _finite_metrics(mismatch_metrics(trainer, sampler, mask)),
            "noise_floor": _finite_metrics(mismatch_metrics(trainer, trainer + rng.normal(0, ulp, shape), mask)),
            "by_position": _records(by_position(trainer, sampler, mask)),
            "by_probability_decile": _records(by_probability_decile(trainer, sampler, mask)),
        },
    )


def _finite_metrics(metrics: dict[str, float]) -> dict[str, float | None]:
    return {key: _finite(value) for key, value in metrics.items()}


def _records(table) -> list[dict]:
    return json.loads(table.to_json(orient="records"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arms", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--checkpoints", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--draw-once", action="store_true", help="one file of scores per arm: quick")
    args = parser.parse_args()
    every = args.steps // args.checkpoints
    made = Plan(
        arms=("float16", "bfloat16", "float32")[: args.arms],
        seeds=tuple(range(args.seeds)),
        max_steps=every * args.checkpoints,
        segment_steps=every,
        evaluate_every=every,
        n_tasks=args.tasks,
        draw_once=args.draw_once,
    )
    make_results(args.folder, made)
    (args.folder / "slice.txt").write_text("\n".join(report_slice(made)) + "\n")
