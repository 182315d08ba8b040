"""What was declared when the runs began and is not what the report uses: the verdict then explores."""

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
    """Every declared key whose value changed after a run began; `declared` is what is used now.

    A key that only one of the two declarations has says nothing and is passed over.
    """
    now = flat(declared)
    found: dict[tuple[str, str], tuple[Any, list[Run]]] = {}
    for record in records:
        for key, before in flat(record.declared or {}).items():
            if key in now and before != now[key]:
                found.setdefault((key, str(before)), (before, []))[1].append(record.run)
    return [Change(key, before, now[key], tuple(runs)) for (key, _), (before, runs) in found.items()]
