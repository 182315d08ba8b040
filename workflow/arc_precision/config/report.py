"""The comparison report."""

from typing import Any

from pydantic import Field

from arc_precision.config.base import Section, Seed


class ReportConfig(Section):
    """The comparison. The primary outcome must be set here before the runs."""

    title: str = Field("float16 against bfloat16", description="Title of the page.")
    primary_set: str = Field("generated-held-out", description="Evaluation set of the primary outcome.")
    primary_metric: str = Field("pass@1", description="Metric of the primary outcome.")
    baseline_arm: str = Field("bfloat16", description="Arm that the others are compared with.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of every interval.")
    bootstrap_samples: int = Field(2000, gt=0, description="Bootstrap resamples.")
    smoothing_steps: int = Field(5, gt=0, description="Steps that a curve's moving mean spans.")
    mismatch_steps: int = Field(
        50,
        gt=0,
        description="Steps, from the first, over which the ladder measures the mismatch. Later the mismatch also "
        "depends on its own effects on the run.",
    )
    seed: Seed = Field(0, description="Seed of the bootstrap.")


class ReportSlice(Section):
    """The settings behind report.json, apart from the files that it is made from."""

    experiment: str
    report: ReportConfig
    collapse: Any
    run_arms: tuple[str, ...]
    seeds: tuple[int, ...]
    evaluate_on: tuple[str, ...]
    n_tasks: dict[str, int | None]  # of every set of `evaluate_on`; None: all tasks of its source
    n_samples: int
    max_steps: int
    arms: dict[str, Any]
    grids: dict[str, dict[str, dict[str, str]]]  # the level of each factor, by grid and by arm that is run


def declared(slice: ReportSlice) -> dict[str, Any]:
    """The settings that must be fixed before a run, by their keys of the configuration.

    These are the primary outcome and its level, the rules of collapse, and the size of the experiment: adding seeds,
    steps, tasks or samples after a look at the results leads to false differences.
    """
    outcome = {"primary_set", "primary_metric", "baseline_arm", "confidence"}
    return {
        "report": slice.report.model_dump(mode="json", include=outcome),
        "collapse": slice.collapse,
        "seeds": list(slice.seeds),
        "max_steps": slice.max_steps,
        "evaluation": {"n_samples": slice.n_samples},
        "evaluation_sets": {
            name: {"n_tasks": n} for name, n in slice.n_tasks.items() if name == slice.report.primary_set
        },
    }
