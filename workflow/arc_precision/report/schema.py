"""The shape of report.json. Every number on the page is in it.

Numbers carry six significant digits; what was not computed or is not finite is null. Field descriptions are part of the
published schema, workflow/schemas/report.schema.json:

    PYTHONPATH=workflow python -m arc_precision.report.schema > workflow/schemas/report.schema.json
"""

import json
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SCHEMA_VERSION = 1


def _significant(value: Any) -> Any:
    if value is None:
        return None
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else None


Number = Annotated[float | None, BeforeValidator(_significant)]


class Part(BaseModel):
    """A part of the report."""

    model_config = ConfigDict(extra="forbid")


class Interval(Part):
    """A value with the ends of its interval, at the level in `settings.confidence`."""

    value: Number
    low: Number = None
    high: Number = None


class Settings(Part):
    """What was fixed before the runs."""

    baseline_arm: str
    primary_set: str
    primary_metric: str
    confidence: Number
    bootstrap_samples: int
    smoothing_steps: int
    max_steps: int
    arms: list[str]
    seeds: list[int]
    sets: list[str]
    common_dtype: str | None = Field(description="Sampler dtype in which arms are compared; null: none evaluated.")


class Verdict(Part):
    """The answer, computed."""

    outcome: Literal["nothing", "inconclusive", "no_difference", "difference"]
    headline: str
    sentences: list[str]


class Note(Part):
    """A warning, or something that is missing."""

    level: Literal["serious", "note"]
    text: str


class Arm(Part):
    """One treatment."""

    name: str
    trainer_dtype: str
    sampler_dtype: str
    is_baseline: bool


class RunRow(Part):
    """One arm with one seed."""

    arm: str
    seed: int
    status: str = Field(description="running, finished, collapsed, failed, or missing.")
    steps: int
    applied_steps: int | None
    asked: dict[str, str]
    observed: dict[str, str]
    reward_final: Number = Field(description="Mean reward over the last smoothing_steps steps.")
    logp_diff_abs_mean: Number = Field(description="Mean |d| over all steps, in nats.")
    hours: Number = Field(description="Sum of step times, in hours.")
    gpu_hours: Number = Field(description="The same times the processes; null without a GPU.")


class Difference(Part):
    """A key of the configuration that differs between arms."""

    key: str
    values: dict[str, Any]
    precision: bool = Field(description="Whether the key is one of the two dtypes.")


class RunCurve(Part):
    """A curve of one run."""

    arm: str
    seed: int
    step: list[int]
    value: list[Number]


class ArmCurve(Part):
    """Mean over the seeds of an arm; low and high are the smallest and the largest seed."""

    arm: str
    step: list[int]
    mean: list[Number]
    low: list[Number]
    high: list[Number]
    n_seeds: list[int]


class Curve(Part):
    """One panel."""

    key: str
    label: str
    description: str
    unit: str
    log: bool
    runs: list[RunCurve]
    arms: list[ArmCurve]


class EvaluationRow(Part):
    """One evaluated checkpoint on one set in one dtype."""

    set: str
    dtype: str
    arm: str
    seed: int | None
    step: int
    n_tasks: int
    n_samples: int
    metrics: dict[str, Interval]


class Report(Part):
    """report.json."""

    schema_version: Literal[1] = 1
    experiment: str
    title: str
    settings: Settings
    verdict: Verdict
    warnings: list[Note]
    missing: list[Note]
    arms: list[Arm]
    runs: list[RunRow]
    differences: list[Difference]
    curves: list[Curve]
    evaluation: list[EvaluationRow]


def json_schema() -> str:
    """The published schema, as text."""
    return json.dumps(Report.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
