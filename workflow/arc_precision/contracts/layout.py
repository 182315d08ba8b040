"""The layout of results: every path in the folder of an experiment is built and parsed here.

Paths are relative to that folder (`results/EXPERIMENT`). Wildcards are written as Snakemake writes them, so that a rule
states a pattern of this module as its output. Not covered: the content of the files (the other contracts).
"""

import re
from pathlib import Path
from typing import NamedTuple

BASE = "base"  # stands for the arm of the untrained model

# The possible values of each wildcard. A path with several wildcards can be parsed in one way only.
WILDCARDS = {
    "arm": r"[A-Za-z0-9._-]+",
    "seed": r"\d+",
    "run": rf"{BASE}|[A-Za-z0-9._-]+/seed-\d+",
    "step": r"\d+",
    "stop": r"\d+",
    "set": r"[A-Za-z0-9_-]+",
    "dtype": r"float32|float16|bfloat16",
    "format": r"float32|(?:float16|bfloat16)(?:-float32-head)?",
    "adapter": r"applied|merged",
    "engine": r"draw|trainer\.[\w-]+|sampler\.[\w-]+\.\w+",
    "rule": r"[a-z_]+",
    "name": r"[^/]+",
    "when": r"before|after",
}


class Run(NamedTuple):
    """One arm with one seed."""

    arm: str
    seed: int


class Checkpoint(NamedTuple):
    """A kept checkpoint. The base model is arm `base`, seed None, step 0."""

    arm: str
    seed: int | None
    step: int


class Evaluated(NamedTuple):
    """A checkpoint on one set, sampled in one dtype."""

    checkpoint: Checkpoint
    set: str
    dtype: str


class Pattern:
    """A path with wildcards in braces."""

    def __init__(self, template: str) -> None:
        self._template = template
        self._regex = re.compile(
            re.sub(r"\\{(\w+)\\}", lambda match: f"(?P<{match[1]}>{WILDCARDS[match[1]]})", re.escape(template))
        )

    def __str__(self) -> str:
        """The pattern as a rule states it."""
        return self._template

    def path(self, **values: object) -> str:
        """The path with `values` for its wildcards."""
        return self._template.format(**values)

    def of_run(self, run: str, **values: object) -> str:
        """The path of a run by name, with `values` for its other wildcards; those without a value stay wildcards."""
        values |= {"run": run, **(found._asdict() if (found := run_of(run)) else {})}
        return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), self._template)

    def parse(self, path: str) -> dict[str, str] | None:
        """The values of the wildcards in `path`; None where it is another kind of file."""
        match = self._regex.fullmatch(path)
        return match.groupdict() if match else None

    def find(self, results: Path) -> list[tuple[Path, dict[str, str]]]:
        """Files of this kind in the folder `results` with the values of their wildcards, step 20 before step 100."""
        anything = re.sub(r"\{(\w+)\}", lambda match: "**" if match[1] == "run" else "*", self._template)
        paths = sorted(results.glob(anything), key=natural)
        parsed = ((path, self.parse(path.relative_to(results).as_posix())) for path in paths)
        return [(path, values) for path, values in parsed if values is not None]


def natural(path: Path) -> list[str | int]:
    """Sort key under which step 20 comes before step 100."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.as_posix())]


MODEL = "model/manifest.json"
TOKENIZER = "model/tokenizer.json"
MODEL_MANIFEST = Pattern("model/{name}.json")
PRETRAINED = Pattern("pretrain/{name}")
WARM_STARTED = Pattern("warm-start/{name}")
WARM_START_HISTORY = "warm-start.jsonl"
WARM_START_TRIAL = Pattern("warm-start-trials/{when}.json")
WARM_START_LOSS = "warm-start.svg"

ROWS = Pattern("data/{set}.parquet")
ROWS_MANIFEST = Pattern("data/{set}.json")

_RUN = "runs/{arm}/seed-{seed}"
ADAPTER = Pattern(f"{_RUN}/checkpoint-{{stop}}/adapter_model.safetensors")
ADAPTER_CONFIG = Pattern(f"{_RUN}/checkpoint-{{stop}}/adapter_config.json")
WEIGHTS = Pattern(f"{_RUN}/checkpoint-{{stop}}/model.safetensors")
WEIGHTS_CONFIG = Pattern(f"{_RUN}/checkpoint-{{stop}}/config.json")
STATE = Pattern(f"{_RUN}/checkpoint-{{stop}}/trainer_state.tar")
STEPS = Pattern(f"{_RUN}/steps-{{stop}}.jsonl")
TIMING = Pattern(f"{_RUN}/timing-{{stop}}.jsonl")
COMPLETIONS = Pattern(f"{_RUN}/completions-{{stop}}.jsonl")
FACTS = Pattern(f"{_RUN}/facts-{{stop}}.json")
TOGETHER = "runs/together.json"  # the seeds of every training job, for processes that plan while other jobs replace
# facts

_CHECKPOINT = "{run}/step-{step}"
SAMPLES = Pattern(f"samples/{_CHECKPOINT}/{{set}}.{{dtype}}.parquet")
SAMPLING_COST = Pattern(f"samples/{_CHECKPOINT}/{{set}}.{{dtype}}.json")
SCORES = Pattern(f"scores/{_CHECKPOINT}/{{set}}.{{dtype}}.parquet")
SUBMISSION = Pattern(f"submissions/{_CHECKPOINT}/{{set}}.{{dtype}}/submission.json")
AUDITED = Pattern(f"audit/{_CHECKPOINT}/{{engine}}.parquet")
AUDIT_DRAW = Pattern(f"audit/{_CHECKPOINT}/draw.parquet")
AUDIT_TRAINER = Pattern(f"audit/{_CHECKPOINT}/trainer.{{format}}.parquet")
AUDIT_SAMPLER = Pattern(f"audit/{_CHECKPOINT}/sampler.{{format}}.{{adapter}}.parquet")
AUDIT_CHAIN = Pattern(f"audit/{_CHECKPOINT}/chain.json")

REPORT = "report/report.json"
REPORT_TABLES = "report/report_data"
REPORT_PAGE = "report/report.html"
REPORT_NOW = "report/report-now.html"


def run_name(arm: str, seed: int) -> str:
    """A run as the wildcard `run`."""
    return f"{arm}/seed-{seed}"


def run_of(name: str) -> Run | None:
    """The run of a wildcard `run`; None for the base model."""
    if name == BASE:
        return None
    arm, seed = name.rsplit("/seed-", 1)
    return Run(arm, int(seed))


def belongs_to(path: str, run: str) -> bool:
    """Whether a path, relative or not, belongs to a run by name: results, logs and benchmarks of it."""
    return f"/{run}/" in path


def checkpoint_of(values: dict[str, str]) -> Checkpoint:
    """The checkpoint in a path with the wildcards `run` and `step`."""
    run = run_of(values["run"])
    return Checkpoint(run.arm if run else BASE, run.seed if run else None, int(values["step"]))


def log(rule: str, output: Pattern | None = None) -> Pattern:
    """The log of a rule: one for all, or one beside each output."""
    return Pattern(f"logs/{_beside(rule, output)}.log")


def benchmark(rule: str, output: Pattern | None = None) -> Pattern:
    """The times of a rule, likewise."""
    return Pattern(f"benchmarks/{_beside(rule, output)}.tsv")


def kind_of(rule: str) -> str:
    """The kind of a rule: its name without the arm and the seeds, which rules over several seeds have after it."""
    return rule.partition(".")[0]


def benchmarked_rule(path: str) -> str | None:
    """The rule whose times lie in `path`; None where it is another kind of file."""
    match = re.fullmatch(r"benchmarks/([^/.]+)(/.*)?\.tsv", path)
    return match[1] if match else None


def _beside(rule: str, output: Pattern | None) -> str:
    """`RULE`, or `RULE/` and the output's path without its first folder and its ending."""
    return f"{rule}/{str(output).partition('/')[2].rpartition('.')[0]}" if output else rule
