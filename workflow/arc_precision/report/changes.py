"""Declared settings that changed after the runs began. With such changes the verdict is exploratory."""

from dataclasses import dataclass
from typing import Any

from arc_precision.config.base import flat
from arc_precision.report.results import Run
from arc_precision.report.runs import RunRecord


@dataclass(frozen=True)
class Change:
    """A declared key with its value when `runs` began and its value now. `added` are the new entries of a list."""

    key: str
    before: Any
    now: Any
    runs: tuple[Run, ...]

    @property
    def added(self) -> list:
        """Entries of a list that only grew; empty if it is another change."""
        if not isinstance(self.before, list) or not set(self.before) <= set(self.now):
            return []
        return [entry for entry in self.now if entry not in self.before]


def changes_after_the_fact(records: list[RunRecord], declared: dict[str, Any]) -> list[Change]:
    """Every declared key whose value changed after a run began; `declared` has the present values.

    A key that is missing in one of the two declarations says nothing and is skipped.
    """
    now = flat(declared)
    found: dict[tuple[str, str], tuple[Any, list[Run]]] = {}
    for record in records:
        for key, before in flat(record.declared or {}).items():
            if key in now and before != now[key]:
                found.setdefault((key, str(before)), (before, []))[1].append(record.run)
    return [Change(key, before, now[key], tuple(runs)) for (key, _), (before, runs) in found.items()]
