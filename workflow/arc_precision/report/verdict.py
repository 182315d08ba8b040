"""The sentences at the top of the page: a pure function of the report's own numbers.

It claims no more than the intervals allow. A difference is claimed when the interval over seeds and tasks, widened
for the number of comparisons, leaves out zero. With one seed nothing is claimed about precision, because the spread
between seeds is not known. Collapsed and failed runs stay in every mean.
"""

from collections.abc import Iterable
from math import hypot

from arc_precision.report.changes import Change
from arc_precision.report.schema import (
    ArmRow,
    Collapse,
    Comparison,
    Difference,
    Endpoint,
    EvaluationRow,
    Interval,
    LogRankTest,
    Outcome,
    ReportVerdict,
    RunRow,
    Settings,
)
from arc_precision.report.written_numbers import (
    difference_text,
    enumeration,
    number,
    percent,
    range_text,
    size_text,
    value_text,
)

SAME_SIZE = (0.8, 1.25)  # a ratio of mean |d| within these bounds is not reported
FLOOR = 1 + 1e-3  # a detectable difference this many times its parts, or more, is due to the floor of the interval


def outcome_of(interval: Interval) -> Outcome:
    """The outcome that an interval over seeds and tasks allows for a difference."""
    if interval.low is None or interval.high is None:
        return "inconclusive"
    return "difference" if interval.low > 0 or interval.high < 0 else "no_difference"


def verdict(
    settings: Settings,
    arms: list[ArmRow],
    runs: list[RunRow],
    comparisons: list[Comparison],
    differences: list[Difference],
    evaluation: list[EvaluationRow],
    collapse: Collapse,
    changes: list[Change],
) -> ReportVerdict:
    """Headline and sentences, from parts of the report. `changes`: of the settings that were declared before the
    runs."""
    return ReportVerdict(
        outcome=_outcome(comparisons),
        headline=_headline(settings, comparisons, _other_than_precision(differences), changes),
        sentences=[
            *_changed(changes),
            *_progress(runs),
            *[_compared(settings, comparison) for comparison in comparisons],
            *_conditions(settings, comparisons, evaluation),
            *_mismatch(settings, arms),
            *_collapse(settings, arms, collapse),
            *_learning(settings, comparisons, evaluation),
            *_confounded(_other_than_precision(differences)),
        ],
    )


def _outcome(comparisons: list[Comparison]) -> Outcome:
    outcomes = {comparison.outcome for comparison in comparisons}
    for outcome in ("difference", "inconclusive", "no_difference"):
        if outcome in outcomes:
            return outcome
    return "nothing"


def _headline(settings: Settings, comparisons: list[Comparison], confounds: list[str], changes: list[Change]) -> str:
    metric = f"{settings.primary_metric} on {settings.primary_set}"
    found = [comparison for comparison in comparisons if comparison.outcome == "difference"]
    if not comparisons:
        return "Nothing can be compared yet."
    if found and confounds:
        return f"The arms differ in {metric}, but not in precision alone: this cannot be put down to precision."
    if found:
        parts = [f"{c.arm} has a {_direction(c)} {metric} than {c.baseline}" for c in found]
        start = "A difference that is not confirmed, as the design was changed after the fact" if changes else None
        return f"{start or 'Precision made a difference'}: {'; '.join(parts)}."
    open_ones = [comparison for comparison in comparisons if comparison.outcome == "inconclusive"]
    if open_ones:
        return f"{_too_little(open_ones[0], metric)}: this experiment cannot say whether precision matters."
    names = enumeration([comparison.arm for comparison in comparisons])
    return f"No difference was found between {names} and {settings.baseline_arm} in {metric}."


def _too_little(comparison: Comparison, metric: str) -> str:
    """The reason why a comparison is inconclusive."""
    if comparison.n_seeds < 2:
        return "One seed per arm"
    return "One task" if comparison.n_tasks < 2 else f"No run and no task differs in {metric}"


def _changed(changes: list[Change]) -> list[str]:
    if not changes:
        return []
    keys = enumeration(list(dict.fromkeys(change.key for change in changes)))
    return [
        f"{keys} changed after runs had begun, see the warnings: the intervals do not allow for a design that follows "
        "the results."
    ]


def _progress(runs: list[RunRow]) -> list[str]:
    ended = sum(run.state not in ("missing", "running") for run in runs)
    failed = [f"{run.arm} seed {run.seed}" for run in runs if run.state == "failed"]
    sentences = []
    if ended < len(runs):
        sentences.append(f"Preliminary: {ended} of {len(runs)} runs have ended.")
    if failed:
        sentences.append(
            f"Training failed, with losses that stayed non-finite, in {enumeration(failed)}; their last checkpoints "
            "are compared."
        )
    return sentences


def _compared(settings: Settings, comparison: Comparison) -> str:
    metric, level = settings.primary_metric, percent(settings.confidence)
    value = difference_text(comparison.over_tasks.value, metric)
    scores = f"{value_text(comparison.score, metric)} against {value_text(comparison.baseline_score, metric)}"
    start = (
        f"{comparison.arm} against {comparison.baseline} at step {comparison.step}: {scores}, a difference of {value}"
    )
    if comparison.outcome == "inconclusive" and comparison.over_tasks.low is None:
        return f"{start}. The results of other seeds and tasks are not known."
    if comparison.outcome == "inconclusive":
        tasks = range_text(comparison.over_tasks.low, comparison.over_tasks.high, metric)
        other = f"Other tasks could have given {tasks} ({level} interval)"
        return f"{start}. {other}; the results of other seeds are not known."
    seeds = range_text(comparison.over_seeds.low, comparison.over_seeds.high, metric)
    sentence = f"{start} ({level} interval {seeds})."
    if comparison.outcome == "no_difference":
        lower, higher = (size_text(end, metric) for end in (comparison.over_seeds.low, comparison.over_seeds.high))
        sentence += f" It is not ruled out that {comparison.arm} is truly {higher} higher or {lower} lower."
        sentence += f" {_sensitivity(comparison, metric)}"
    return sentence


def _sensitivity(comparison: Comparison, metric: str) -> str:
    """A sentence about the smallest difference that the design could have shown, and its limiting factor."""
    design, found = f"{comparison.n_seeds} seeds and {comparison.n_tasks} tasks", comparison.detectable
    given = "If other seeds and tasks spread as these did,"
    if found is None:
        return f"{given} {design} cannot show a difference of any size with 80 % power."
    smallest = size_text(found.difference, metric)
    sentence = f"{given} the smallest difference that {design} show with 80 % power is about {smallest}."
    of_tasks = size_text(found.by_tasks, metric)
    if found.difference > FLOOR * hypot(found.by_seeds, found.by_tasks):
        few = "Few tasks differed, or they differed little, and others may differ more."
        return f"{sentence} {few} With more tasks smaller differences would show."
    if found.by_tasks > found.by_seeds:
        return f"{sentence} The tasks limit it: with as many, no number of seeds brings it below {of_tasks}."
    beyond = f", but not below {of_tasks} with as many tasks" if found.by_tasks else ""
    return f"{sentence} The seeds limit it: more of them would lower it{beyond}."


def _conditions(settings: Settings, comparisons: list[Comparison], evaluation: list[EvaluationRow]) -> list[str]:
    if not comparisons:
        return []
    seeds = _numbers(comparison.n_seeds for comparison in comparisons)
    tasks = _numbers(comparison.n_tasks for comparison in comparisons)
    samples = _numbers(row.n_samples for row in _primary(settings, evaluation))
    sentence = (
        f"Compared: {seeds} paired {'seed' if seeds == '1' else 'seeds'} per arm on {tasks} "
        f"{'task' if tasks == '1' else 'tasks'} with {samples} {'completion' if samples == '1' else 'completions'} "
        f"each, sampled in {settings.common_dtype} for every arm."
    )
    if len(comparisons) > 1:
        sentence += (
            f" Intervals of the {len(comparisons)} comparisons hold together, at {percent(settings.confidence)}."
        )
    behind = [comparison for comparison in comparisons if comparison.step < settings.max_steps]
    if behind:
        steps = enumeration(sorted({str(comparison.step) for comparison in behind}))
        sentence += (
            f" Compared at step {steps} of {settings.max_steps}: the last that every evaluated run of both arms has."
        )
    return [sentence]


def _mismatch(settings: Settings, arms: list[ArmRow]) -> list[str]:
    measured = {arm.name: arm.logp_diff_abs_mean for arm in arms if arm.logp_diff_abs_mean.value}
    baseline = measured.get(settings.baseline_arm)
    if baseline is None:
        return ["The training-inference mismatch of the baseline was not measured."]
    sentences = []
    for name, found in measured.items():
        if name == settings.baseline_arm:
            continue
        ratio = baseline.value / found.value
        sizes = f"{number(found.value)} nats in {name} and {number(baseline.value)} in {settings.baseline_arm}"
        larger, smaller = (settings.baseline_arm, name) if ratio > 1 else (name, settings.baseline_arm)
        if SAME_SIZE[0] <= ratio <= SAME_SIZE[1]:
            how = "of about one size"
        elif _overlap(found, baseline):
            how = "not of a size that tells the arms apart, as their seeds overlap"
        else:
            how = f"{number(max(ratio, 1 / ratio))} times as large in {larger} as in {smaller}"
        sentences.append(f"In these runs the training-inference mismatch was {how}: mean |d| was {sizes}.")
    return sentences


def _overlap(one: Interval, other: Interval) -> bool:
    """Whether ranges of seeds have a value in common; those of single seeds have no room to."""
    if None in (one.low, other.low) or one.low == one.high or other.low == other.high:
        return False
    return one.low <= other.high and other.low <= one.high


def _collapse(settings: Settings, arms: list[ArmRow], collapse: Collapse) -> list[str]:
    sentences = []
    if settings.max_steps < collapse.first_possible_step:
        sentences.append(
            f"Runs of {settings.max_steps} steps cannot show a collapse: by the rules of the configuration it takes at "
            f"least {collapse.first_possible_step}."
        )
    else:
        counts = []
        for arm in arms:
            onsets = f" (at step {enumeration([str(step) for step in arm.onsets])})" if arm.onsets else ""
            counts.append(f"{len(arm.onsets)} of {arm.seeds_found} in {arm.name}{onsets}")
        sentences.append(_endpoint(settings, arms, collapse, "collapsed", counts, any(arm.onsets for arm in arms)))
    if any(_failed(arm) for arm in arms):
        counts = [f"{len(arm.onsets) + _failed(arm)} of {arm.seeds_found} in {arm.name}" for arm in arms]
        sentences.append(_endpoint(settings, arms, collapse, "collapsed or failed", counts, True))
    return sentences


def _failed(arm: ArmRow) -> int:
    return arm.states.get("failed", 0)


def _endpoint(
    settings: Settings, arms: list[ArmRow], collapse: Collapse, endpoint: Endpoint, counts: list[str], happened: bool
) -> str:
    """Sentences about the number of runs at an end point and the results of the log-rank tests."""
    sentence = f"Runs that {endpoint}: {enumeration(counts)}."
    if min(arm.seeds_found for arm in arms) < 2:
        what = "collapse" if endpoint == "collapsed" else "collapse and failure"
        return f"{sentence} With fewer than two seeds in an arm nothing can be concluded about {what}."
    if not happened:
        return f"{sentence} Nothing is known beyond the steps that were run."
    tests = [test for test in collapse.log_rank if test.endpoint == endpoint and test.p_value is not None]
    level = (1 - settings.confidence) / max(len(settings.arms) - 1, 1)
    return " ".join([sentence, *[_when(test, level) for test in tests]])


def _when(test: LogRankTest, level: float) -> str:
    verb = "collapses" if test.endpoint == "collapsed" else "collapses or fails"
    p = f"log-rank test, p = {test.p_value:.2g}"
    if test.p_smallest >= level:
        return (
            f"So few runs cannot show whether {test.arm} {verb} earlier or later than {test.baseline} ({p}; they "
            f"give no p below {test.p_smallest:.2g}, and the level is {level:.2g})."
        )
    if test.p_value >= level:
        return f"{test.arm} {verb} not measurably later or earlier than {test.baseline} ({p})."
    return f"{test.arm} {verb} {'earlier' if test.statistic > 0 else 'later'} than {test.baseline} ({p})."


def _learning(settings: Settings, comparisons: list[Comparison], evaluation: list[EvaluationRow]) -> list[str]:
    steps = {comparison.arm: comparison.step for comparison in comparisons}
    steps |= {comparison.baseline: comparison.step for comparison in comparisons}
    alike = []
    for row in _primary(settings, evaluation):
        gain = row.gains.get(settings.primary_metric)
        if steps.get(row.arm) == row.step and gain is not None and gain.low is not None and gain.low <= 0 <= gain.high:
            tasks_alone = ", over tasks alone" if row.n_seeds < 2 else ""
            alike.append(f"{row.arm} {range_text(gain.low, gain.high, settings.primary_metric)}{tasks_alone}")
    if not alike:
        return []
    sentence = (
        f"On {settings.primary_set} a gain over the base model was not shown ({percent(settings.confidence)} interval: "
        f"{enumeration(alike)})."
    )
    if len(alike) == len(steps):
        sentence += " As no arm is shown to have learnt, the effect of precision on learning remains open."
    return [sentence]


def _confounded(confounds: list[str]) -> list[str]:
    if not confounds:
        return []
    return [f"The arms differ in more than precision: {enumeration(confounds)}."]


def _primary(settings: Settings, evaluation: list[EvaluationRow]) -> list[EvaluationRow]:
    return [row for row in evaluation if (row.set, row.dtype) == (settings.primary_set, settings.common_dtype)]


def _other_than_precision(differences: list[Difference]) -> list[str]:
    return [difference.key for difference in differences if not difference.precision]


def _numbers(values: Iterable[int]) -> str:
    return enumeration([str(value) for value in sorted(set(values))])


def _direction(comparison: Comparison) -> str:
    return "higher" if comparison.over_seeds.value > 0 else "lower"
