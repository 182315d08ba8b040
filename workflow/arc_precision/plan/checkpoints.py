"""Runs of an experiment, their segments, and the checkpoints that are evaluated and audited."""

from arc_precision.config.base import Dtype
from arc_precision.config.experiment import ExperimentConfig
from arc_precision.contracts import layout


def runs(experiment: ExperimentConfig) -> list[str]:
    """All selected runs by name."""
    return [layout.run_name(arm, seed) for arm in experiment.run_arms for seed in experiment.seeds]


def arm_of(run: str) -> str | None:
    """Arm of a run by name; None for the base model."""
    found = layout.run_of(run)
    return found.arm if found else None


def segment_start(experiment: ExperimentConfig, arm: str, stop: int) -> int:
    """First step of the segment that ends at `stop`."""
    return stop - experiment.training_of(arm).segment_steps


def segments(experiment: ExperimentConfig, arm: str) -> range:
    """Last step of each segment."""
    n_steps = experiment.training_of(arm).segment_steps
    return range(n_steps, experiment.max_steps + 1, n_steps)


def evaluated(experiment: ExperimentConfig) -> list[tuple[str, int, str, Dtype]]:
    """(run, step, set, dtype) of every evaluation: the base model once, and each kept checkpoint."""
    common, every = experiment.evaluation.common_dtype, experiment.evaluation.every
    steps = range(every, experiment.max_steps + 1, every)
    in_own = {"none": [], "last": steps[-1:], "all": steps}[experiment.evaluation.own_dtype]
    dtypes: dict[tuple[str, int], set[Dtype]] = {(layout.BASE, 0): {common}}
    for arm in experiment.run_arms:
        for seed in experiment.seeds:
            for step in steps:
                own = {experiment.arms[arm].sampler_dtype} if step in in_own else set()
                dtypes[layout.run_name(arm, seed), step] = {common} | own
    return [
        (run, step, name, dtype)
        for name in experiment.evaluate_on
        for (run, step), wanted in dtypes.items()
        for dtype in sorted(wanted)
    ]


def audited(experiment: ExperimentConfig) -> list[tuple[str, int]]:
    """(run, step) of every audited checkpoint."""
    every = experiment.audit.every
    return [(run, step) for run in runs(experiment) for step in range(every, experiment.max_steps + 1, every)]
