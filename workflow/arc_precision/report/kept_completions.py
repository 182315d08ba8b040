"""Completions that a run was trained on: around its collapse, or from its last step if it did not collapse."""

from arc_precision.contracts.layout import Run
from arc_precision.contracts.steps import COMPLETIONS, read_run
from arc_precision.report.results import Results
from arc_precision.report.schema import CollapseRun, KeptCompletion, KeptOfRun

KEPT_CHARACTERS = 1500


def kept_completions(results: Results, runs: list[CollapseRun]) -> list[KeptOfRun]:
    """The completions of every run that kept any."""
    found = []
    for run in runs:
        key = Run(run.arm, run.seed)
        rows = read_run(
            results.completions.get(key, []), results.facts.get(key, []), COMPLETIONS, running=results.running
        )
        kept = {row["step"]: row["completions"] for row in rows if row["completions"]}
        completions = [
            _kept(step, when, each) for when, step in steps_shown(sorted(kept), run).items() for each in kept[step]
        ]
        if completions:
            found.append(KeptOfRun(arm=run.arm, seed=run.seed, onset_step=run.onset_step, completions=completions))
    return found


def steps_shown(steps: list[int], run: CollapseRun) -> dict[str, int]:
    """The steps whose completions are shown, with the role of each."""
    if not steps:
        return {}
    if run.onset_step is None:
        return {"last": steps[-1]}
    shown = {
        "before": max((step for step in steps if step < run.onset_step), default=None),
        "at": min((step for step in steps if step >= run.onset_step), default=None),
        "after": min((step for step in steps if step >= run.detected_step), default=None),
    }
    return {when: step for when, step in shown.items() if step is not None}


def _kept(step: int, when: str, completion: dict) -> KeptCompletion:
    text = completion["text"]
    return KeptCompletion(
        **completion | {"text": text[:KEPT_CHARACTERS]}, step=step, when=when, cut=len(text) > KEPT_CHARACTERS
    )
