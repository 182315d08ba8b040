"""Arms given as a grid: every combination of the levels of some factors is an arm."""

from collections.abc import Iterable, Iterator
from itertools import combinations, product
from typing import Any

from pydantic import Field, model_validator

from arc_precision.config.base import Name, Section, lay_over
from arc_precision.config.training import ArmConfig

Part = dict[str, Any]  # some keys of an arm with their values


class ArmGrid(Section):
    """Factors with their levels. An arm is named by its levels, in the order of the factors, joined by `-`."""

    common: Part = Field(default_factory=dict, description="Keys that all arms of the grid share.")
    factors: dict[Name, dict[Name, Part]] = Field(
        min_length=1, description="Levels of each factor, with the keys of an arm that each sets."
    )

    @model_validator(mode="after")
    def _arms_can_be_made(self):
        for fault in self._faults():
            raise ValueError(fault)
        return self

    def _faults(self) -> Iterator[str]:
        known = list(ArmConfig.model_fields)
        parts = {"common": self.common}
        for factor, levels in self.factors.items():
            if len(levels) < 2:
                yield f"factors.{factor}: {len(levels)} levels, and a factor has two or more; write more, or use common"
            parts |= {f"factors.{factor}.{level}": part for level, part in levels.items()}
        for place, part in parts.items():
            for key in part.keys() - known:
                yield f"{place}.{key}: unknown key; known keys are {', '.join(known)}"
        for (one, levels), (other, others) in combinations(self.factors.items(), 2):
            both = _keys(levels.values()) & _keys(others.values())
            if both:
                yield f"factors {one} and {other} both set {min(both)}; let one of them set it"
        names = [name for name, _ in self._combinations()]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            yield f"two combinations of levels give the name {twice}; write other names of levels"

    def levels(self) -> dict[str, dict[str, str]]:
        """The level of each factor, by arm."""
        return dict(self._combinations())

    def arms(self) -> dict[str, Part]:
        """The arms, by name, as they would stand under `arms`."""
        found = {}
        for name, chosen in self._combinations():
            found[name] = self.common
            for factor, level in chosen.items():
                found[name] = lay_over(found[name], self.factors[factor][level])
        return found

    def _combinations(self) -> Iterator[tuple[str, dict[str, str]]]:
        for levels in product(*self.factors.values()):
            yield "-".join(levels), dict(zip(self.factors, levels, strict=True))


def _keys(parts: Iterable[Part], prefix: str = "") -> set[str]:
    """The keys that any of the parts sets, dotted."""
    found = set()
    for part in parts:
        for key, value in part.items():
            found |= _keys([value], f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return found


def with_arms_of_grids(arms: dict[str, Part], grids: dict[str, ArmGrid]) -> dict[str, Part]:
    """The arms, and those of every grid beside them.

    Raises:
        ValueError: two of them have one name, or a grid has the name of an arm.
    """
    found = dict(arms)
    for name, grid in grids.items():
        for arm, part in grid.arms().items():
            if arm in found:
                raise ValueError(f"arm_grids.{name}: its arm {arm} is defined twice; write another name of a level")
            found[arm] = part
    for name in grids:
        if name in found:
            raise ValueError(f"arm_grids.{name}: an arm is called {name} too; write another name of the grid")
    return found
