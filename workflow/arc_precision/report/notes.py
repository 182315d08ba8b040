"""Warnings and missing parts: one sentence each, the serious ones first."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from arc_precision.contracts.layout import Run
from arc_precision.report.changes import Change
from arc_precision.report.results import Results
from arc_precision.report.runs import RunRecord
from arc_precision.report.schema import Collapse, EvaluationRow, Note, Settings


def warnings(
    settings: Settings,
    slices: dict[str, dict[str, Any]],
    records: dict[Run, RunRecord],
    evaluation: list[EvaluationRow],
    collapse: Collapse,
    changes: list[Change],
) -> list[Note]:
    """Reasons to doubt the verdict. `changes`: of the settings that were declared before the runs."""
    notes = [
        *[_serious(_changed(change)) for change in changes],
        *_about_design(settings, slices, collapse),
        *_about_facts(list(records.values())),
        *_about_steps(list(records.values())),
        *_about_evaluation(settings, evaluation),
    ]
    return sorted(notes, key=lambda note: note.level != "serious")


def _serious(text: str) -> Note:
    return Note(level="serious", text=text)


def _note(text: str) -> Note:
    return Note(level="note", text=text)


def _about_design(settings: Settings, slices: dict[str, dict[str, Any]], collapse: Collapse) -> list[Note]:
    notes = []
    if len(settings.seeds) == 1:
        notes.append(_serious("One seed: the results of other seeds are not known."))
    if settings.max_steps < collapse.first_possible_step:
        notes.append(
            _note(
                f"Too few steps for a collapse to be seen: {settings.max_steps}, where the rules need "
                f"{collapse.first_possible_step}."
            )
        )
    if settings.baseline_arm not in settings.arms:
        notes.append(_serious(f"The baseline arm {settings.baseline_arm} is not among the arms that are run."))
    if settings.primary_set not in settings.sets:
        notes.append(_serious(f"The primary set {settings.primary_set} is not evaluated."))
    for arm, slice in slices.items():
        sampling, training = slice["sampling"], slice["training"]
        if sampling["top_p"] < 1:
            notes.append(
                _serious(
                    f"{arm}: top_p {sampling['top_p']} samples from another distribution than the one that is trained; "
                    "this adds to the mismatch."
                )
            )
        if sampling["top_k"] > 0:
            notes.append(_serious(f"{arm}: top_k {sampling['top_k']} adds to the mismatch, as top_p below 1 would."))
        if sampling["repetition_penalty"] != 1:
            notes.append(
                _serious(f"{arm}: repetition_penalty {sampling['repetition_penalty']} is sampled but not trained.")
            )
        sides = ("trainer", training), ("sampler", sampling)
        heads = [
            slice[f"{name}_dtype"] if side["head_dtype"] == "model" else side["head_dtype"] for name, side in sides
        ]
        if training["head_dtype"] != sampling["head_dtype"] and heads[0] != heads[1]:
            notes.append(
                _serious(
                    f"{arm}: the LM head is in {heads[0]} in the trainer and in {heads[1]} in the sampler; float32 on "
                    "one side alone does not make the two agree."
                )
            )
        if sampling["quantization"] == "fp8" or sampling["kv_cache_dtype"] == "fp8":
            parts = [
                part
                for part, key in (("weights", "quantization"), ("keys and values", "kv_cache_dtype"))
                if sampling[key] == "fp8"
            ]
            notes.append(_serious(f"{arm}: the sampler has {' and '.join(parts)} in float8, the trainer has not."))
        if training["correction"] != "off":
            notes.append(
                _note(f"{arm}: the correction {training['correction']} partly hides the mismatch's effect on training.")
            )
        if training["sync"] == "merge":
            notes.append(_note(f"{arm}: the adapter is merged at every sync, which rounds the update in the sampler."))
        if slice["load_in_4bit"]:
            notes.append(_note(f"{arm}: the trainer's base weights are in 4 bits, the sampler's are not."))
    return notes


def _changed(change: Change) -> str:
    names = _some(map(_name, change.runs))
    if change.added:
        what = f"{change.key}: {_some(map(str, change.added))} added after {names} began"
    else:
        what = f"{change.key} was {_written(change.before)} when {names} began and is {_written(change.now)} now"
    return f"{what}: the design changed after the fact, so the verdict is exploratory."


def _written(value: Any) -> str:
    if isinstance(value, list):
        return _some(map(str, value))
    return "not limited" if value is None else str(value)


def _about_facts(records: list[RunRecord]) -> list[Note]:
    known = [record for record in records if record.facts]
    notes = [*_differing("Sandbox level", known, lambda facts: facts["observed"]["isolation_level"])]
    notes += _differing("Device", known, lambda facts: facts["observed"]["device"])
    notes += _differing("Commit", known, lambda facts: facts["commit"])
    for package in sorted({name for record in known for name in record.facts["versions"]}):
        notes += _differing(f"Version of {package}", known, lambda facts, name=package: facts["versions"].get(name))
    for variable in sorted({name for record in known for name in record.facts["environment"]}):
        notes += _differing(
            f"The variable {variable}",
            known,
            lambda facts, name=variable: facts["environment"].get(name, "not set"),
        )
    uncommitted = [_name(record.run) for record in known if record.facts["dirty"]]
    if uncommitted:
        notes.append(_serious(f"Uncommitted code in {_some(uncommitted)}: its commit does not say what ran."))
    if any(record.facts["commit"] is None for record in known):
        notes.append(_note("Some runs do not know their commit: they ran outside git."))
    for record in known:
        asked, observed = record.facts["asked"], record.facts["observed"]
        pairs = [("sampler", asked["sampler_dtype"], observed["sampler_dtype"])]
        if not record.facts["config"]["load_in_4bit"]:
            pairs.append(("trainer", asked["trainer_dtype"], record.trainer_observed))
        for who, wanted, found in pairs:
            if wanted != found:
                notes.append(_serious(f"{_name(record.run)}: the {who} ran in {found}, {wanted} was asked for."))
    return notes


def _differing(what: str, records: list[RunRecord], value) -> list[Note]:
    """A note if a fact differs between runs; serious if it differs between arms."""
    by_arm: dict[str, set] = {}
    for record in records:
        by_arm.setdefault(record.run.arm, set()).add(value(record.facts))
    if len(set().union(*by_arm.values())) < 2:
        return []
    texts = [f"{arm} {_some(sorted(str(v) for v in values))}" for arm, values in by_arm.items()]
    differs_between_arms = len({frozenset(values) for values in by_arm.values()}) > 1
    if differs_between_arms:
        return [_serious(f"{what} differs between arms: {'; '.join(texts)}.")]
    return [_note(f"{what} differs between runs: {'; '.join(texts)}.")]


def _about_steps(records: list[RunRecord]) -> list[Note]:
    notes = []
    for arm in dict.fromkeys(record.run.arm for record in records):
        ours = [record for record in records if record.run.arm == arm and len(record.steps)]
        skipped = sum(int(record.steps["skipped"].sum()) for record in ours)
        nonfinite = sum(int(_not_finite(record.steps).sum()) for record in ours)
        steps = sum(record.n_steps for record in ours)
        if skipped:
            text = f"{arm}: the loss scaler skipped {skipped} of {steps} updates; compare the reward at equal updates."
            notes.append(_note(text))
        if nonfinite:
            notes.append(_serious(f"{arm}: loss or gradient was not finite in {nonfinite} of {steps} steps."))
        for record in ours:
            if record.state == "failed":
                text = f"{_name(record.run)} failed: losses stayed non-finite; it ended at step {record.n_steps}."
                notes.append(_serious(text))
    return notes


def _not_finite(steps: pd.DataFrame) -> pd.Series:
    """Steps with a loss that is not finite, or with such a gradient that was applied. The loss scaler's skips do not
    count."""
    return steps["loss"].isna() | (steps["nonfinite"] & ~steps["skipped"])


def _about_evaluation(settings: Settings, rows: list[EvaluationRow]) -> list[Note]:
    notes = []
    faults = sum(row.sandbox_errors for row in rows)
    if faults:
        notes.append(_note(f"{faults} completions met a fault of the sandbox and are left out of every metric."))
    primary = [row for row in rows if (row.set, row.dtype) == (settings.primary_set, settings.common_dtype)]
    if any(row.seen_share for row in primary):
        notes.append(_serious(f"Tasks of the primary set {settings.primary_set} are in the training data."))
    return notes


def missing(settings: Settings, records: dict[Run, RunRecord], results: Results) -> list[Note]:
    """Parts of the experiment that do not exist yet."""
    notes = []
    for record in records.values():
        if record.state == "missing":
            notes.append(_serious(f"{_name(record.run)}: no step yet."))
        elif record.state == "running":
            notes.append(_serious(f"{_name(record.run)}: at step {record.n_steps} of {settings.max_steps}."))
        if len(record.steps) and not record.facts:
            notes.append(_note(f"{_name(record.run)}: facts of the run (precision in effect, versions) are missing."))
    if not results.scores:
        notes.append(_serious("No checkpoint is evaluated yet."))
    for name in settings.sets:
        notes += _missing_evaluations(settings, records, results, name)
    if not results.chains:
        notes.append(_note("No checkpoint is audited: the causes of the mismatch are not known."))
    return notes


def _missing_evaluations(settings: Settings, records, results: Results, name: str) -> list[Note]:
    found = [e for e in results.scores if e.set == name]
    steps = {e.checkpoint.step for e in found if e.checkpoint.seed is not None} | {settings.max_steps}
    notes = []
    for run in records:
        have = {e.checkpoint.step for e in found if e.checkpoint[:2] == run and e.dtype == settings.common_dtype}
        trained = settings.max_steps if records[run].state in ("collapsed", "failed") else records[run].n_steps
        lacking = sorted(step for step in steps - have if step <= trained)
        if lacking:
            where = f" in {settings.common_dtype}" if settings.common_dtype else ""
            notes.append(_serious(f"{_name(run)}: not evaluated on {name}{where} at step {_some(map(str, lacking))}."))
    return notes


def _name(run: Run) -> str:
    return f"{run.arm}, seed {run.seed}"


def _some(words: Iterable[str], most: int = 6) -> str:
    words = list(words)
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
