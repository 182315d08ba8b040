"""The runs: their progress, precision and cost; and the differences between arms."""

import json
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from arc_precision.config.base import flat
from arc_precision.contracts.layout import Run
from arc_precision.contracts.steps import STEP, TIMING, read_facts, read_run
from arc_precision.report.results import Results

DTYPE_KEYS = ("trainer_dtype", "sampler_dtype")
PRECISION_KEYS = (
    *(*DTYPE_KEYS, "training.head_dtype", "sampling.head_dtype"),
    *("sampling.quantization", "sampling.kv_cache_dtype"),
)


@dataclass
class RunRecord:
    """The record of one run. `steps` has one row per step with its times beside it, and may be empty."""

    run: Run
    steps: pd.DataFrame = field(default_factory=pd.DataFrame)
    facts: dict[str, Any] | None = None  # of the latest segment with facts
    max_steps: int = 0
    declared: dict[str, Any] | None = None  # settings declared when its first segment was trained

    @property
    def n_steps(self) -> int:
        """Number of trained steps."""
        return int(self.steps["step"].iloc[-1]) if len(self.steps) else 0

    @property
    def state(self) -> str:
        """missing, running, finished, collapsed (and stopped for it), or failed."""
        if not len(self.steps):
            return "missing"
        if self.facts and self.facts["status"] != "running":
            return self.facts["status"]
        return "finished" if self.n_steps == self.max_steps else "running"

    @property
    def stopped_at(self) -> int | None:
        """Step at which training was ended early."""
        return self.facts["stopped_at"] if self.facts else None

    @property
    def hours(self) -> float | None:
        """Sum of its step times, in hours; None without times."""
        return self.steps["step_s"].sum() / 3600 if "step_s" in self.steps else None

    @property
    def gpu_hours(self) -> float | None:
        """Hours times GPUs; None on a CPU, or where it is not known."""
        if self.hours is None or self.facts is None or self.facts["observed"]["device"] == "cpu":
            return None
        return self.hours * self.facts["config"]["training"]["processes"]

    @property
    def trainer_observed(self) -> str:
        """The dtype in which the trainer computed: that of its base, or of autocast where all weights are trained."""
        observed = self.facts["observed"]
        return observed["trainer_dtype"] if observed["adapter_dtype"] else observed["autocast_dtype"] or "float32"

    def mean(self, key: str, until_applied: int | None = None, last: int | None = None) -> float | None:
        """Mean of a column over the `last` steps among those with at most `until_applied` updates; None: all."""
        if key not in self.steps:
            return None
        steps = self.steps if until_applied is None else self.steps[self.steps["applied_steps"] <= until_applied]
        return steps[key].astype(float).tail(last or len(steps)).mean()


def read_runs(results: Results, runs: list[Run], max_steps: int) -> dict[Run, RunRecord]:
    """The record of every run, missing ones included, in the order of `runs`."""
    return {run: _read_run(results, run, max_steps) for run in runs}


def _read_run(results: Results, run: Run, max_steps: int) -> RunRecord:
    facts = results.facts.get(run, [])
    steps = pd.DataFrame(read_run(results.steps.get(run, []), facts, STEP, results.running))
    timing = pd.DataFrame(read_run(results.timing.get(run, []), facts, TIMING, results.running))
    if len(steps) and len(timing):
        steps = steps.merge(timing.drop(columns="schema_version"), on="step", how="left")
    if run not in results.facts:
        return RunRecord(run, steps, max_steps=max_steps)
    first, last = read_facts(facts[0]), read_facts(facts[-1])
    return RunRecord(run, steps, last, max_steps, first["declared"])


def differences(slices: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Keys, dotted and sorted, whose values are not the same in every arm, with the value of each."""
    by_arm = {arm: flat(slice) for arm, slice in slices.items()}
    found = {}
    for key in sorted({key for words in by_arm.values() for key in words}):
        values = {arm: words.get(key) for arm, words in by_arm.items()}
        if len({json.dumps(value, sort_keys=True) for value in values.values()}) > 1:
            found[key] = values
    return found
