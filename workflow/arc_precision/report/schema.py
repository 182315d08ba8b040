"""The shape of report.json. Every number on the page is in it.

Numbers have six significant digits; numbers that were not computed or are not finite are null. Field descriptions are
part of the published schema, workflow/schemas/report.schema.json:

    PYTHONPATH=workflow python -m arc_precision.report.schema > workflow/schemas/report.schema.json
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from arc_precision.contracts.numbers import or_null

SCHEMA_VERSION = 1


def _significant(value: Any) -> Any:
    return None if value is None else or_null(float(f"{float(value):.6g}"))


def _drawn(value: float | None) -> float | None:
    return None if value is None else or_null(float(f"{float(value):.4g}"))


Number = Annotated[float | None, BeforeValidator(_significant)]
Drawn = Annotated[float | None, BeforeValidator(_drawn), Field(description="For a curve, to four digits.")]
Grid = Annotated[str, Field(description="Rows of colours, 0 to 9, joined by '/': '012/345' is 2 high and 3 wide.")]
Endpoint = Literal["collapsed", "collapsed or failed"]
Outcome = Literal["nothing", "inconclusive", "no_difference", "difference"]


class Part(BaseModel):
    """A part of the report."""

    model_config = ConfigDict(extra="forbid")


class Interval(Part):
    """A value with the ends of its interval, at the level in `settings.confidence`."""

    value: Number
    low: Number = None
    high: Number = None


class Settings(Part):
    """Settings that were fixed before the runs."""

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


class ReportVerdict(Part):
    """The answer, computed."""

    outcome: Outcome
    headline: str
    sentences: list[str]


class Note(Part):
    """A warning, or a missing part."""

    level: Literal["serious", "note"]
    text: str


class ArmRow(Part):
    """One treatment, its seeds together."""

    name: str
    is_baseline: bool
    trainer_dtype: str
    sampler_dtype: str
    trainer_observed: str | None = Field(description="Base dtype that the trainer held; several joined by a comma.")
    sampler_observed: str | None = Field(description="Dtype that the sampler's engine ran in.")
    seeds_planned: int
    seeds_found: int
    steps_min: int = Field(description="Steps of the shortest run; 0 if a run is missing.")
    steps_max: int
    states: dict[str, int] = Field(description="Runs by state: running, finished, collapsed, failed, missing.")
    onsets: list[int] = Field(description="Steps at which runs collapsed.")
    score: Interval | None = Field(description="Primary outcome at the step compared.")
    logp_diff_abs_mean: Interval = Field(description="Mean |d| in nats; low and high are the extreme seeds.")
    hours: Number = Field(description="Step times of all seeds together, in hours.")
    gpu_hours: Number = Field(description="These hours times the GPUs of a run; null without a GPU.")


class RunRow(Part):
    """One arm with one seed."""

    arm: str
    seed: int
    state: str = Field(description="running, finished, collapsed, failed, or missing.")
    stopped_at: int | None
    steps: int
    applied_steps: int | None
    asked: dict[str, str]
    observed: dict[str, str]
    reward_final: Number = Field(description="Mean reward over the last smoothing_steps steps.")
    reward_at_equal_updates: Number = Field(
        description="The same up to the number of applied updates that every run has reached."
    )
    logp_diff_abs_mean: Number = Field(description="Mean |d| over all steps, in nats.")
    seq_log_ratio_std: Number = Field(
        description="Spread of the sequence log-ratio D over all sequences of the first mismatch_steps steps, in nats."
    )
    score: Number = Field(description="Primary outcome at the step compared.")
    hours: Number = Field(description="Sum of step times, in hours.")
    gpu_hours: Number


class Detectable(Part):
    """The smallest true difference that this design finds in four of five repetitions, and its parts.

    It is estimated from the spread of the seeds and tasks that there are.
    """

    difference: Number = Field(
        description="Both parts in quadrature; more where few tasks differ, or by little: others may differ more."
    )
    by_seeds: Number = Field(description="Part due to the number of seeds: many seeds would remove it.")
    by_tasks: Number = Field(description="Part due to the number of tasks: no number of seeds removes it.")


class Comparison(Part):
    """The primary outcome of an arm against the baseline, at the last step that every run of both has."""

    arm: str
    baseline: str
    step: int
    n_seeds: int = Field(description="Seeds that both arms have: they are paired.")
    n_tasks: int
    score: Number
    baseline_score: Number
    over_tasks: Interval = Field(description="Difference; the interval covers the choice of tasks alone.")
    over_seeds: Interval = Field(
        description="Difference; the interval covers seeds and tasks and holds for all comparisons together. "
        "Null ends: fewer than two seeds or tasks, or values without bounds that are all equal."
    )
    by_seed: list[Number]
    detectable: Detectable | None = Field(description="Null: no difference could be shown, or nothing varies.")
    outcome: Outcome


class Difference(Part):
    """A key of the configuration that differs between arms."""

    key: str
    values: dict[str, Any]
    precision: bool = Field(description="Whether the key is a number format.")


class LadderOrder(Part):
    """Arms that differ in one thing that has an order, from the lowest rung to the highest."""

    by: str = Field(description="The quantity that orders them, with its unit.")
    arms: list[str]
    rungs: list[Number]


class LadderRun(Part):
    """The mismatch of a run over the ladder's first steps, all sequences together, and its primary outcome."""

    arm: str
    seed: int
    spread: Number = Field(description="Standard deviation of the sequence log-ratio D, in nats.")
    logp_diff_abs_mean: Number = Field(description="Mean |d| per token, in nats.")
    ess: Number = Field(description="Effective sample size of sequences, as a share.")
    design_effect: Number = Field(
        description="Variance of a step's mean D over that of sequences that err independently. 1: they err "
        "independently."
    )
    score: Number = Field(description="Primary outcome at the step compared.")


class LadderArm(Part):
    """The same over the seeds of an arm: geometric means, with Student's t of the logarithms."""

    arm: str
    n_seeds: int
    spread: Interval
    logp_diff_abs_mean: Interval
    ess: Interval
    design_effect: Interval
    score: Interval | None = Field(description="Primary outcome at the step compared.")
    difference: Interval | None = Field(description="From the baseline, as in `comparisons`.")
    outcome: Outcome | None


class Ladder(Part):
    """Ordered arms on the axis of their measured mismatch."""

    steps: int = Field(description="The mismatch is that of the steps up to this one.")
    orders: list[LadderOrder]
    arms: list[LadderArm]
    runs: list[LadderRun]
    sentences: list[str]


class LevelChange(Part):
    """A level of a factor in place of the reference."""

    factor: str
    level: str
    reference: str


class Effect(Part):
    """A main effect (one change) or a two-factor interaction (two) on the primary outcome."""

    changes: list[LevelChange]
    difference: Interval = Field(
        description="Mean difference over the other factors; of an interaction the difference of two such differences. "
        "The interval holds for all effects of the grid together; over tasks alone with one seed."
    )


class LevelSurvival(Part):
    """Log-rank test of a level against the reference, stratified by the other factors."""

    change: LevelChange
    endpoint: Endpoint
    n_runs: int
    n_ended: int = Field(description="Runs of the level that came to the end point.")
    reference_n_runs: int
    reference_n_ended: int
    statistic: Number = Field(description="Positive where the level ends earlier.")
    p_value: Number = Field(description="By permutation within strata; for this test alone.")
    p_smallest: Number = Field(description="The smallest that the same steps give however they are dealt.")
    reason: str | None = Field(description="Reason why there is no test.")


class Factors(Part):
    """A grid of arms: the effects of its factors."""

    grid: str
    levels: dict[str, list[str]] = Field(description="Of each factor, the reference first.")
    n_arms: int
    step: int | None = Field(description="Step compared: the last that every evaluated run of the grid has.")
    n_seeds: int
    effects: list[Effect]
    survival: list[LevelSurvival]
    limits: list[str] = Field(description="Limits of the design.")


class RunAxis(Part):
    """Positions of the points of a run's curves."""

    arm: str
    seed: int
    step: list[int]
    applied_steps: list[int | None]
    hours: list[Number]


class RunValues(Part):
    """A curve of one run, on its axis."""

    arm: str
    seed: int
    value: list[Drawn]


class ArmCurve(Part):
    """Mean over the seeds of an arm; low and high are the smallest and the largest seed."""

    arm: str
    step: list[int]
    mean: list[Drawn]
    low: list[Drawn]
    high: list[Drawn]
    n_seeds: list[int]


class Panel(Part):
    """One panel of curves."""

    key: str
    label: str
    description: str
    unit: str
    healthy: str = Field(description="Published range, or what agreement gives; empty where there is none.")
    log: bool
    runs: list[RunValues]
    arms: list[ArmCurve]


class Curves(Part):
    """Training curves."""

    steps_per_point: int = Field(description="Each point is the mean over this many steps.")
    axes: list[RunAxis]
    panels: list[Panel]


class CauseRow(Part):
    """One observed cause of the mismatch; the causes of a checkpoint sum to d token by token."""

    cause: str
    mean: Number = Field(description="Signed, in nats.")
    mean_abs: Number
    share: Number = Field(description="Of the variance of d, in the stated order.")
    share_reversed: Number
    share_lowest: Number = Field(description="Over all orders that could be computed, and all seeds.")
    share_highest: Number


class CounterfactualRow(Part):
    """The amount that a change of the sampler would add to d."""

    name: str
    in_effect: bool = Field(
        description="Whether the arm samples so. Then the row gives the amount added to d, otherwise the amount "
        "that would be."
    )
    shift_mean: Number
    shift_abs_mean: Number
    shift_abs_max: Number
    share: Number
    token_count: int
    never_drawn_count: int


class ProfileRow(Part):
    """The mismatch in one bin of positions (tokens from the start) or of probabilities."""

    from_: Number = Field(alias="from")
    to: Number
    token_count: int
    logp_diff_mean: Number
    logp_diff_std: Number
    logp_diff_abs_mean: Number
    logp_diff_abs_p95: Number

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)


class AuditedStep(Part):
    """The mismatch at a step of an arm, split into its causes. Means over its seeds; token counts are sums."""

    arm: str
    step: int
    n_seeds: int
    causes: list[CauseRow]
    counterfactuals: list[CounterfactualRow]
    orders: list[list[str]] = Field(description="Orders of the causes that could be computed, the stated one first.")
    metrics: dict[str, Number] = Field(description="Trainer against sampler; keys as in docs/metrics.md.")
    noise_floor: dict[str, Number] = Field(description="The trainer against itself with another batch size; same keys.")
    by_position: list[ProfileRow]
    by_probability: list[ProfileRow]


class EvaluationRow(Part):
    """A step of an arm on one set, sampled in one dtype; all its seeds together."""

    set: str
    dtype: str
    arm: str
    step: int
    n_seeds: int
    n_tasks: int
    n_samples: int
    seen_share: Number = Field(description="Share of tasks that are in the training data.")
    sandbox_errors: int
    seconds_per_task: Number = Field(
        description="Seconds of the sampling jobs divided by tasks, mean over seeds; the engine's start is not counted."
    )
    metrics: dict[str, Interval]
    differences: dict[str, Interval] = Field(description="From the baseline arm, paired by task and seed.")
    gains: dict[str, Interval] = Field(description="From the base model, paired by task.")
    verdicts: dict[str, Number] = Field(description="Share of each verdict.")


class EvaluationRun(Part):
    """The same for one seed, without intervals."""

    set: str
    dtype: str
    arm: str
    seed: int | None
    step: int
    metrics: dict[str, Number]


class HeatMap(Part):
    """Share of completions that solve each task, in the dtype that is common to the arms."""

    set: str
    tasks: list[str] = Field(description="From most to least solved.")
    seen: list[bool | None]
    columns: list[str] = Field(description="Arm and step.")
    column_arms: list[str]
    rates: list[list[Number]] = Field(description="One list per column, one entry per task.")


class Evaluation(Part):
    """Evaluated checkpoints."""

    definitions: dict[str, str]
    rows: list[EvaluationRow]
    runs: list[EvaluationRun]
    heat_maps: list[HeatMap]


class TaskPair(Part):
    """A pair of grids."""

    kind: Literal["train", "test"]
    input: Grid
    output: Grid


class TaskCompletion(Part):
    """One completion for a task."""

    arm: str
    seed: int | None
    step: int
    sample: int
    verdict: str
    exception: str | None
    reward: Number
    train_correct: int
    train_total: int
    test_correct: int
    test_total: int
    program: str | None
    outputs: list[Grid] | None = Field(description="One per pair, in the order of `pairs`.")


class TaskRate(Part):
    """How often an arm solves a task."""

    arm: str
    solved: Number


class TaskCard(Part):
    """A task with the arms' answers."""

    set: str
    task_id: str
    seen: bool | None
    chosen_as: list[str] = Field(description="best, worst, disagree, gained, lost.")
    rates: list[TaskRate]
    pairs: list[TaskPair]
    completions: list[TaskCompletion]


class Tasks(Part):
    """A choice of tasks, at the step that is compared."""

    choices: dict[str, str] = Field(description="Meaning of each word of `chosen_as`.")
    step: int | None
    dtype: str | None
    cards: list[TaskCard]


class EarlyWarning(Part):
    """A metric that left its own baseline."""

    metric: str
    direction: str
    left_step: int
    lead_steps: int | None = Field(description="Steps before onset; null for a false alarm.")


class Alarms(Part):
    """How often a metric left its own baseline when no collapse followed."""

    metric: str
    false: int
    quiet_steps: int = Field(description="Steps that have a baseline and are not shortly before a collapse.")


class CollapseRun(Part):
    """The result of the configured rules for a run."""

    arm: str
    seed: int
    state: str
    steps: int
    onset_step: int | None
    detected_step: int | None
    rule: str | None
    threshold: Number
    running_max: Number
    recovered_step: int | None
    warnings: list[EarlyWarning]
    alarms: list[Alarms]


class Sign(Part):
    """The numbers of a metric's warnings before a collapse and of its false alarms."""

    metric: str
    warned_collapsed: int
    collapsed: int
    lead_steps_median: Number
    false_alarms: int = Field(description="Alarms that no collapse followed, in all runs.")
    quiet_steps: int = Field(description="Steps that have a baseline and are not shortly before a collapse, all runs.")
    false_alarms_per_1000_steps: Number


class Survival(Part):
    """Kaplan-Meier estimate of the share of runs that have not come to an end point."""

    arm: str
    endpoint: Endpoint
    step: list[Number]
    share: list[Number]
    low: list[Number]
    high: list[Number]
    at_risk: list[int]
    n_runs: int
    n_ended: int = Field(description="Runs that came to the end point; the others are censored at their last step.")


class LogRankTest(Part):
    """Log-rank test of an arm's steps to an end point against the baseline's."""

    arm: str
    baseline: str
    endpoint: Endpoint
    statistic: Number = Field(description="Positive where the arm ends earlier.")
    p_value: Number = Field(description="By permutation.")
    p_smallest: Number = Field(description="The smallest that the same steps give however they are dealt to the arms.")
    reason: str | None = Field(description="Reason why there is no test.")


class CompletionExcerpt(Part):
    """A completion before or after a collapse."""

    arm: str
    seed: int
    step: int
    when: Literal["before", "after"]
    set: str
    task_id: str
    truncated: bool
    tokens: int
    text: str
    cut: bool = Field(description="Whether the text is longer than this excerpt.")


class KeptCompletion(Part):
    """A completion that was trained on."""

    step: int
    when: Literal["before", "at", "after", "last"] = Field(description="The onset of the collapse; last: of a run.")
    row_id: str
    reward: Number
    verdict: str
    tokens: int
    truncated: bool
    sampler_logp_mean: Number = Field(description="Mean log-probability of its tokens in the sampler, in nats.")
    log_ratio: Number = Field(description="D, in nats; null where no token counts.")
    text: str
    cut: bool = Field(description="Whether the text is longer than this excerpt.")


class KeptOfRun(Part):
    """Completions of a run's training steps: around its collapse, or of its last step that drew some."""

    arm: str
    seed: int
    onset_step: int | None
    completions: list[KeptCompletion]


class Collapse(Part):
    """Collapse by the rules of the configuration."""

    first_possible_step: int = Field(description="Shorter runs cannot show a collapse.")
    rules: dict[str, Any]
    runs: list[CollapseRun]
    signs: list[Sign]
    survival: list[Survival]
    log_rank: list[LogRankTest]
    completions: list[CompletionExcerpt]
    training: list[KeptOfRun]


class RuleTime(Part):
    """Wall time of a rule's jobs, from Snakemake's benchmarks."""

    rule: str
    jobs: int
    wall_s: Number
    gpu_s: Number = Field(description="Wall time of jobs that held a GPU, times their GPUs; null if not known.")


class PhaseTime(Part):
    """Mean time of a phase of a training step."""

    arm: str
    phase: str
    mean_s: Number
    share: Number


class RunOrigin(Part):
    """The origin of a run."""

    arm: str
    seed: int
    commit: str | None
    dirty: bool | None
    device: str | None
    isolation_level: str | None
    versions: dict[str, str]


class Command(Part):
    """The command that makes a part of the page again."""

    section: str
    command: str
    table: str | None = Field(description="File with its numbers.")


class Provenance(Part):
    """The origin of all results."""

    origins: list[RunOrigin]
    configs: dict[str, dict[str, Any]]
    manifests: dict[str, Any]
    rule_times: list[RuleTime]
    phase_times: list[PhaseTime]
    commands: list[Command]


class Report(Part):
    """report.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    experiment: str
    title: str
    settings: Settings
    verdict: ReportVerdict
    warnings: list[Note]
    missing: list[Note]
    arms: list[ArmRow]
    runs: list[RunRow]
    comparisons: list[Comparison]
    differences: list[Difference]
    ladder: Ladder | None = Field(description="Null where no three arms are ordered.")
    factors: list[Factors] = Field(description="Of every grid of arms with two factors or more.")
    curves: Curves
    mismatch: list[AuditedStep]
    evaluation: Evaluation
    tasks: Tasks
    collapse: Collapse
    provenance: Provenance


def json_schema() -> str:
    """The published schema, as text."""
    return json.dumps(Report.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
