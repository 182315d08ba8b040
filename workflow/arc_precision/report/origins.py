"""The origin of the results: commits, versions, checksums, time per rule, and the commands that make each part
again."""

from pathlib import Path

import pandas as pd

from arc_precision.contracts.layout import Run
from arc_precision.contracts.whole import read_object
from arc_precision.report.results import Results
from arc_precision.report.runs import RunRecord
from arc_precision.report.schema import Command, PhaseTime, Provenance, RuleTime, RunOrigin

GPU_RULES = ("train", "sample", "audit_draw", "audit_trainer", "audit_sampler", "train_set")
PHASES = ("generate_s", "sync_s", "reward_s", "logps_s", "loss_s", "backward_s", "other_s")


def provenance(results: Results, records: dict[Run, RunRecord], slices: dict[str, dict], experiment: str) -> Provenance:
    """The section of the page."""
    return Provenance(
        origins=[_origin(record) for record in records.values() if record.facts],
        configs=slices,
        manifests={name: read_object(path, 1, ()) for name, path in sorted(results.manifests.items())},
        rule_times=[_rule_time(rule, paths, slices) for rule, paths in sorted(results.benchmarks.items())],
        phase_times=[time for arm in slices for time in _phase_times(arm, records)],
        commands=_commands(experiment),
    )


def _origin(record: RunRecord) -> RunOrigin:
    facts = record.facts
    return RunOrigin(
        arm=record.run.arm,
        seed=record.run.seed,
        commit=facts["commit"],
        dirty=facts["dirty"],
        device=facts["observed"]["device"],
        isolation_level=facts["observed"]["isolation_level"],
        versions=facts["versions"],
    )


def _rule_time(rule: str, paths: list, slices: dict[str, dict]) -> RuleTime:
    seconds = {path: mean for path in paths if (mean := _mean_s(path)) is not None}
    on_gpu = rule in GPU_RULES and any(slice["device"] == "cuda" for slice in slices.values())
    # Benchmarks of `train` lie in folders named after the arm; the arm determines the number of GPUs of a job.
    gpus = {path: next((slices[p]["training"]["processes"] for p in path.parts if p in slices), 1) for path in paths}
    return RuleTime(
        rule=rule,
        jobs=len(paths),
        wall_s=sum(seconds.values()),
        gpu_s=sum(s * (gpus[path] if rule == "train" else 1) for path, s in seconds.items()) if on_gpu else None,
    )


def _mean_s(path: Path) -> float | None:
    """Mean seconds of a job over its attempts; None if the file has none, for example after a full disk."""
    try:
        return pd.read_csv(path, sep="\t")["s"].mean()
    except (ValueError, KeyError):
        return None


def _phase_times(arm: str, records: dict[Run, RunRecord]) -> list[PhaseTime]:
    steps = [record.steps for run, record in records.items() if run.arm == arm and "step_s" in record.steps]
    if not steps:
        return []
    rows = pd.concat(steps)
    whole = rows["step_s"].mean()
    return [
        PhaseTime(arm=arm, phase=phase, mean_s=rows[phase].mean(), share=rows[phase].mean() / whole) for phase in PHASES
    ]


def _commands(experiment: str) -> list[Command]:
    made = f"snakemake results/{experiment}/report"
    return [
        Command(section="This page", command=f"{made}/report.html", table=None),
        Command(section="Runs", command=f"{made}/report.json", table="runs.csv"),
        Command(section="Curves", command=f"{made}/report.json", table="curves.csv"),
        Command(section="Mismatch", command=f"{made}/report.json", table="mismatch.csv"),
        Command(section="Evaluation", command=f"{made}/report.json", table="evaluation.csv"),
        Command(section="Ladder", command=f"{made}/report.json", table="ladder.csv"),
        Command(section="Factors", command=f"{made}/report.json", table="factors.csv"),
        Command(section="Tasks", command=f"{made}/report.json", table="tasks.csv"),
        Command(section="Collapse", command=f"{made}/report.json", table="collapse.csv"),
    ]
