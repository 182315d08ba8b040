"""Inputs of jobs that depend on the experiment or on wildcards. `contracts.layout` gives their paths."""

from arc_precision.config.experiment import ExperimentConfig
from arc_precision.contracts import layout
from arc_precision.plan.checkpoints import arm_of, audited, evaluated, runs, segment_start, segments
from arc_precision.plan.seed_groups import SeedsJob


def training_set(experiment: ExperimentConfig) -> str:
    """Name of the rows that runs train on."""
    return "train" if experiment.perfectible.enabled else "candidates"


def previous_segment(experiment: ExperimentConfig, job: SeedsJob, stop: int) -> list[str]:
    """Files that a segment goes on from: trained weights, trainer state, facts. The first segment has none."""
    start = segment_start(experiment, job.arm, stop)
    kinds = (*trained_kinds(experiment, job.arm).values(), layout.STATE, layout.FACTS)
    return [path for kind in kinds for path in job.paths(kind, stop=start)] if start else []


def trained_files(experiment: ExperimentConfig, job: SeedsJob, step: int | str) -> list[str]:
    """The trained weights of a job's seeds at a step; nothing for the base model."""
    kinds = trained_kinds(experiment, job.arm).values() if job.seeds else ()
    return [path for kind in kinds for path in job.paths(kind, stop=step)]


def trained_kinds(experiment: ExperimentConfig, arm: str) -> dict[str, layout.Pattern]:
    """Files of a checkpoint with the trained weights, by name: an adapter or, with full fine-tuning, the whole
    model."""
    if experiment.training_of(arm).lora is None:
        return {"weights": layout.WEIGHTS, "config": layout.WEIGHTS_CONFIG}
    return {"adapter": layout.ADAPTER, "adapter_config": layout.ADAPTER_CONFIG}


def warm_started(when: str) -> list[str]:
    """The model that a trial `before` or `after` the warm start tries, where it is one that a rule makes."""
    return [layout.WARM_STARTED.path(name="model.safetensors")] if when == "after" else []


def audit_scored(experiment: ExperimentConfig, run: str, step: int | str) -> list[str]:
    """The files that a checkpoint's audit joins: the completions, and their log-probs under every other engine
    setting."""
    engines = ("draw", *experiment.audit_engines(arm_of(run)))
    return [layout.AUDITED.path(run=run, step=step, engine=engine) for engine in engines]


def base_scores(experiment: ExperimentConfig) -> list[str]:
    """Verdicts on the base model."""
    dtype = experiment.evaluation.common_dtype
    return [layout.SCORES.path(run=layout.BASE, step=0, set=name, dtype=dtype) for name in experiment.evaluate_on]


def report_inputs(experiment: ExperimentConfig) -> list[str]:
    """Every file that the report is made from."""
    data = ["candidates", *(["train"] if experiment.perfectible.enabled else [])]
    files = [layout.MODEL, *(layout.ROWS_MANIFEST.path(set=name) for name in data)]
    for name in experiment.evaluate_on:
        files += [layout.ROWS_MANIFEST.path(set=name), layout.ROWS.path(set=name)]
    for run in map(layout.run_of, runs(experiment)):
        for stop in segments(experiment, run.arm):
            kinds = (layout.STEPS, layout.TIMING, layout.COMPLETIONS, layout.FACTS)
            files += [kind.path(arm=run.arm, seed=run.seed, stop=stop) for kind in kinds]
    primary = experiment.report.primary_set, experiment.evaluation.common_dtype
    for run, step, name, dtype in evaluated(experiment):
        kinds = (layout.SCORES, layout.SAMPLING_COST)
        files += [kind.path(run=run, step=step, set=name, dtype=dtype) for kind in kinds]
        if (name, dtype) == primary:  # the report shows completions around a collapse from these files
            files.append(layout.SAMPLES.path(run=run, step=step, set=name, dtype=dtype))
    return files + [layout.AUDIT_CHAIN.path(run=run, step=step) for run, step in audited(experiment)]
