"""The table of docs/staleness.md: for every key of the configuration, the rules that run again when its value changes.

The table is made by editing each key in turn and asking Snakemake; nothing in it is written by hand.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from arc_precision.config.experiment import ExperimentConfig
from arc_precision.staleness.plan import PlannedJob, jobs

# Values for keys whose next value cannot be guessed from their type, or would break a check.
VALUES: dict[str, Any] = {
    "experiment": "other",
    "max_steps": 40,
    "run_arms": ["float16"],
    "seeds": [0, 1, 2, 3],
    "evaluate_on": ["generated-held-out"],
    "arms.float16.sampler_dtype": "bfloat16",
    "arms.float16.trainer_dtype": "float32",
    "arms.bfloat16.sampler_dtype": "float16",
    "arms.bfloat16.trainer_dtype": "float32",
    # Arms that are not run.
    "arm_grids": {
        "more": {
            "common": {"trainer_dtype": "float16", "sampler_dtype": "float16"},
            "factors": {"algorithm": {"grpo": {}, "dr-grpo": {"training": {"loss_type": "dr_grpo"}}}},
        }
    },
    "data.train_on": ["generated"],
    "data.n_tasks": 100,
    "evaluation.every": 10,
    "audit.every": 10,
    "audit.set": "arc-agi-1-training",
    "audit.batch_sizes": [8, 5],
    "report.baseline_arm": "float16",
    "report.primary_set": "arc-agi-1-evaluation",
    "report.primary_metric": "pass@2",
    "training.segment_steps": 20,
    "training.schedule_steps": 1000,
    "training.lr_drop": {"signal": "mismatch"},
    "training.epsilon_high": 0.3,
    "training.correction_min": 0.5,
    "training.per_device_train_batch_size": 32,
    "training.num_generations": 16,
    "training.steps_per_generation": 2,
    "training.num_iterations": 2,
    "training.lora.target_modules": ["q_proj"],
    "training.processes": 2,
    "model.thinking": {"open": "<think>", "close": "</think>"},
    "sampling.top_p": 0.95,
    "sampling.stop": ["STOP"],
    "sandbox.max_side": 20,
    "sandbox.min_level": "none",
    "collapse.recovery_share": 0.9,
    "pretrain.hidden_size": 512,
    "pretrain.heads": 4,
    "pretrain.context_tokens": 1024,
}
ON_A_GPU = {"device": "cuda", "evaluation": {"common_dtype": "float16"}}
# Keys that can only change together with others.
TOGETHER: dict[str, dict[str, Any]] = {
    "sampling.temperature": {"sampling": {"temperature": 0.5}, "audit": {"every": 40}},
    "device": ON_A_GPU,
    "model.load_in_4bit": {"model": {"load_in_4bit": True}, **ON_A_GPU},
    "sampling.quantization": {"sampling": {"quantization": "fp8"}, **ON_A_GPU},
    "sampling.kv_cache_dtype": {"sampling": {"kv_cache_dtype": "fp8"}, **ON_A_GPU},
    "sampling.batch_invariant": {"sampling": {"batch_invariant": True}, **ON_A_GPU},
    "training.optim": {"training": {"optim": "adamw_8bit"}, **ON_A_GPU},  # a package that the CPU environment lacks
    "training.lr_scheduler_type": {"training": {"lr_scheduler_type": "linear", "schedule_steps": 1000}},
}
# Not edited, because other values name files that do not exist.
LEFT_OUT = {"model.path", "model.prompt", "warm_start.barc"}


def leaf_edits(config: ExperimentConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every leaf key with a change to the configuration that gives it another value."""
    for key, value, kind in _leaves("", config):
        if key in LEFT_OUT or (get_origin(kind) is Literal and len(get_args(kind)) == 1):
            continue
        if key in TOGETHER:
            yield key, TOGETHER[key]
            continue
        changed = VALUES[key] if key in VALUES else _other(key, value, kind)
        for part in reversed(key.split(".")):
            changed = {part: changed}
        yield key, changed


def _leaves(prefix: str, section: BaseModel) -> Iterator[tuple[str, Any, Any]]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _leaves(f"{prefix}{name}.", value)
        elif isinstance(value, dict) and value and isinstance(next(iter(value.values())), BaseModel):
            for key, entry in value.items():
                yield from _leaves(f"{prefix}{name}.{key}.", entry)
        else:
            yield f"{prefix}{name}", value, field.annotation


def _other(key: str, value: Any, kind: Any) -> Any:
    if key.startswith("evaluation_sets.") and key.endswith(".source"):
        return "arc-agi-2-training"
    if key.startswith("arms.") and value == {}:  # nothing overridden yet
        return {"training": {"beta": 0.1}, "sampling": {"top_k": 5}}[key.split(".")[2]]
    if get_origin(kind) is Literal:
        return next(option for option in get_args(kind) if option != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.1
    if isinstance(value, str):
        return value + " changed"
    if isinstance(value, tuple) and all(isinstance(part, float) for part in value):
        return [part + 1 for part in value]
    if value is None:
        return 7
    raise ValueError(f"no other value is known for {value!r}; write one into VALUES")


def stale_rules(plan: list[PlannedJob]) -> tuple[str, ...]:
    """Names of the rules with stale jobs, without `all` and the rules that always follow."""
    return tuple(sorted({job.rule for job in plan if job.stale} - {"all"}))


def table(root: Path, progress: Callable[[str], None] = lambda key: None) -> dict[str, tuple[str, ...]]:
    """For each leaf key, the rules that run again, in a pipeline in which everything is done."""
    rows = {}
    for key, change in leaf_edits(ExperimentConfig()):
        progress(key)
        rows[key] = stale_rules(jobs(root, config=change))
    return rows


def document(rows: dict[str, tuple[str, ...]]) -> str:
    """The table in Markdown."""
    lines = ["| key | rules that run again |", "|---|---|"]
    lines += [f"| `{key}` | {', '.join(rules) or 'none'} |" for key, rules in rows.items()]
    return "\n".join(lines) + "\n"
