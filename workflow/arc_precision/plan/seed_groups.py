"""Which seeds share a job.

Seeds of an arm train together, at most `resources.train.seeds_together` of them, and what reads their checkpoints is
grouped alike. Who trained with whom stays as it was: a seed that is added later gets a job of its own, so that no
finished job sees other inputs than before. The facts of a segment say which seeds its job trained.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from arc_precision.config.experiment import ExperimentConfig
from arc_precision.contracts import layout
from arc_precision.plan.checkpoints import segments

Groups = dict[str, dict[int, list[list[int]]]]
"""For each arm, for the last step of each segment, the seeds of each job."""


class SeedsJob(NamedTuple):
    """Jobs of one arm over the same seeds: one per segment that ends at one of the steps `stops`."""

    arm: str
    seeds: tuple[int, ...]  # none for the base model
    stops: tuple[int, ...]

    def __str__(self) -> str:
        """For messages."""
        return f"{self.arm}, seeds {', '.join(map(str, self.seeds))}" if self.seeds else self.arm

    def rule(self, kind: str) -> str:
        """Name of the rule that does `kind` of work for these seeds (`layout.kind_of`)."""
        return ".".join([kind, self.arm, *(["-".join(map(str, self.seeds))] if self.seeds else [])])

    def paths(self, pattern: layout.Pattern, **values: object) -> list[str]:
        """One path for each seed; wildcards without a value stay."""
        runs = [layout.run_name(self.arm, seed) for seed in self.seeds] or [layout.BASE]
        return [pattern.of_run(run, **values) for run in runs]


def with_rules(given: Mapping[str, Any], rules: Iterable[str]) -> dict[str, Any]:
    """The values `given` by rule; a value given for a kind becomes the value of each rule of this kind."""
    kinds = {layout.kind_of(rule) for rule in rules}
    others = {rule: value for rule, value in given.items() if rule not in kinds}
    return {rule: given[layout.kind_of(rule)] for rule in rules if layout.kind_of(rule) in given} | others


BASE_JOB = SeedsJob(layout.BASE, (), (0,))


def seeds_rules(jobs: Iterable[SeedsJob]) -> list[str]:
    """Names of the rules of jobs over several seeds, those of the base model too."""
    kinds = ("train", "sample", "audit_draw", "audit_trainer", "audit_sampler")
    return [job.rule(kind) for kind in kinds for job in [BASE_JOB, *jobs]]


def at_most(experiment: ExperimentConfig, arm: str) -> int:
    """Seeds of an arm that may train in one job: several need vLLM, and an adapter for each."""
    several = experiment.training_of(arm).merged is False and experiment.sampling_of(arm).engine == "vllm"
    # Libraries of live curves write all curves of a process into one folder.
    return experiment.resources.train.seeds_together if several and experiment.watch == "none" else 1


def planned(experiment: ExperimentConfig, results: Path, going_on: bool) -> Groups:
    """The seeds of every training job.

    While a run is `going_on`, facts may be gone because they are made anew; what that run planned is kept then.
    Raises ValueError if facts are damaged.
    """
    plan = results / layout.TOGETHER
    if going_on and plan.exists():
        before = {
            arm: {int(stop): seeds for stop, seeds in of_arm.items()}
            for arm, of_arm in json.loads(plan.read_bytes()).items()
        }
    else:
        before = recorded(experiment, results)
    return groups(experiment, before)


def keep(planned: Groups, results: Path) -> None:
    """Store the groups of seeds for the processes that plan while the run goes on."""
    plan, text = results / layout.TOGETHER, json.dumps(planned) + "\n"
    if not plan.exists() or plan.read_text() != text:
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text(text)


def recorded(experiment: ExperimentConfig, results: Path) -> Groups:
    """The groups of seeds that trained together, from the facts of finished segments.

    Raises ValueError if facts are damaged.
    """
    groups: Groups = {}
    for arm in experiment.run_arms:
        for stop in segments(experiment, arm):
            for seed in experiment.seeds:
                facts = results / layout.FACTS.path(arm=arm, seed=seed, stop=stop)
                if facts.exists():
                    groups.setdefault(arm, {}).setdefault(stop, []).append(_seeds_of_job(facts, seed))
    return groups


def _seeds_of_job(facts: Path, seed: int) -> list[int]:
    try:
        # Facts of earlier versions do not say it: every run was alone.
        return list(json.loads(facts.read_bytes()).get("seeds_of_job", [seed]))
    except (ValueError, AttributeError, TypeError) as error:
        # To train the segment again may cost days, and all that follows it would go too.
        raise ValueError(
            f"{facts}: damaged ({error}); put a copy of it back, or remove it to train its segment again"
        ) from None


def groups(experiment: ExperimentConfig, before: Groups) -> Groups:
    """The seeds of every training job.

    Groups of finished segments stay. Other seeds stay with those that they trained with in the segment before; in the
    first segment they are spread evenly over as few jobs as possible.
    """
    planned: Groups = {}
    for arm in experiment.run_arms:
        last = [list(experiment.seeds)]
        for stop in segments(experiment, arm):
            there: list[list[int]] = []
            for group in before.get(arm, {}).get(stop, []):
                if not {seed for other in there for seed in other} & set(group):
                    there.append(group)
            taken = {seed for group in there for seed in group}
            left = [[seed for seed in group if seed not in taken and seed in experiment.seeds] for group in last]
            there += [part for group in left for part in _spread(group, at_most(experiment, arm))]
            planned.setdefault(arm, {})[stop] = last = there
    return planned


def _spread(seeds: list[int], at_most: int) -> list[list[int]]:
    n_jobs = -(-len(seeds) // at_most)
    cuts = [len(seeds) * job // n_jobs for job in range(n_jobs + 1)] if seeds else []
    return [seeds[first:end] for first, end in zip(cuts, cuts[1:], strict=False)]


def seeds_jobs(planned: Groups) -> list[SeedsJob]:
    """The same, by arm and seeds."""
    stops: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for arm, of_arm in planned.items():
        for stop, seeds in of_arm.items():
            for group in seeds:
                stops.setdefault((arm, tuple(group)), []).append(stop)
    return [SeedsJob(arm, seeds, tuple(at)) for (arm, seeds), at in stops.items()]
