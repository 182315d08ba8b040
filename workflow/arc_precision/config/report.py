"""The comparison report."""

from typing import Any

from pydantic import Field

from arc_precision.config.base import Section, Seed


class ReportConfig(Section):
    """What is compared and how. The primary outcome stands here before the run."""

    title: str = Field("float16 against bfloat16", description="Title of the page.")
    primary_set: str = Field("arc-agi-1-evaluation", description="Evaluation set of the primary outcome.")
    primary_metric: str = Field("pass@1", description="Metric of the primary outcome.")
    baseline_arm: str = Field("bfloat16", description="Arm that the others are compared with.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of every interval.")
    bootstrap_samples: int = Field(2000, gt=0, description="Bootstrap resamples.")
    smoothing_steps: int = Field(5, gt=0, description="Steps that a curve's moving mean spans.")
    seed: Seed = Field(0, description="Seed of the bootstrap.")


class ReportSlice(Section):
    """What decides report.json, besides the files it is made from."""

    experiment: str
    report: ReportConfig
    collapse: Any
    run_arms: tuple[str, ...]
    seeds: tuple[int, ...]
    evaluate_on: tuple[str, ...]
    n_tasks: dict[str, int | None]  # of every set of `evaluate_on`; None: all that its source has
    n_samples: int
    max_steps: int
    arms: dict[str, Any]


def declared(slice: ReportSlice) -> dict[str, Any]:
    """What has to stand before a run, by its keys of the configuration.

    The primary outcome and its level, the rule by which a run counts as collapsed, and the size of the experiment:
    whoever looks at a result and then adds seeds, steps, tasks or samples finds differences that are none.
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
