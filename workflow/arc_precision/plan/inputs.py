"""What jobs read that depends on the experiment or on wildcards. Paths are those of `contracts.layout`."""

from arc_precision.config.audit import audit_engines
from arc_precision.config.experiment import ExperimentConfig
from arc_precision.contracts import layout
from arc_precision.plan.checkpoints import arm_of, audited, evaluated, runs, segment_start, segments


def training_set(experiment: ExperimentConfig) -> str:
    """Name of the rows that runs train on."""
    return "train" if experiment.perfectible.enabled else "candidates"


def previous_segment(experiment: ExperimentConfig, arm: str, seed: int | str, stop: int) -> list[str]:
    """Files that a segment goes on from: trained weights, trainer state, facts. The first segment has none."""
    start = segment_start(experiment, arm, stop)
    if not start:
        return []
    kinds = (layout.STATE, layout.FACTS)
    trained = trained_files(experiment, layout.run_name(arm, seed), start)
    return trained + [kind.path(arm=arm, seed=seed, stop=start) for kind in kinds]


def trained_files(experiment: ExperimentConfig, run: str, step: int | str) -> list[str]:
    """The trained weights of a checkpoint: an adapter, or with full fine-tuning all of the model's."""
    arm = arm_of(run)
    return layout.trained_files(run, step, whole=bool(arm) and experiment.training_of(arm).lora is None)


def audit_scored(experiment: ExperimentConfig, run: str, step: int | str) -> list[str]:
    """What a checkpoint's audit joins: the completions, and their log-probs under every other engine setting."""
    arm = arm_of(run)
    dtypes = experiment.arms[arm].trainer_dtype, experiment.arms[arm].sampler_dtype
    merged = experiment.training_of(arm).merged
    engines = ("draw", *audit_engines(*dtypes, merged=merged))
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
            kinds = (layout.STEPS, layout.TIMING, layout.FACTS)
            files += [kind.path(arm=run.arm, seed=run.seed, stop=stop) for kind in kinds]
    primary = experiment.report.primary_set, experiment.evaluation.common_dtype
    for run, step, name, dtype in evaluated(experiment):
        files.append(layout.SCORES.path(run=run, step=step, set=name, dtype=dtype))
        if (name, dtype) == primary:  # completions around a collapse are shown from here
            files.append(layout.SAMPLES.path(run=run, step=step, set=name, dtype=dtype))
    return files + [layout.AUDIT_CHAIN.path(run=run, step=step) for run, step in audited(experiment)]
