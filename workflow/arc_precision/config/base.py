"""What every section shares: unknown keys are errors, values never change, and a slice has one spelling."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

Dtype = Literal["float32", "float16", "bfloat16"]
Device = Literal["cpu", "cuda"]


class Section(BaseModel):
    """A part of the configuration. Unknown keys raise `pydantic.ValidationError`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Section)


def settings(section: Section) -> tuple[str, ...]:
    """The section as sorted `key=value` lines, keys dotted, values in JSON.

    A rule carries these as its params. Snakemake compares params as a set, so the order of keys is nothing to it, two
    values that swap places are two changes, and the reason that it prints is the lines that changed. A
    tuple, because Snakemake looks for wildcards in every element of a list, for each job anew.
    """
    return tuple(sorted(_flatten("", section.model_dump(mode="json"))))


def _flatten(prefix: str, values: dict[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flatten(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}={json.dumps(value)}"


def from_settings(model: type[S], lines: Iterable[str]) -> S:
    """The section that `settings` wrote.

    Raises:
        pydantic.ValidationError: a key is unknown or missing, or a value is not possible.
    """
    values: dict[str, Any] = {}
    for line in lines:
        key, _, text = line.partition("=")
        *sections, name = key.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = json.loads(text)
    return model.model_validate(values)


def lay_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top; mappings merge, everything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = lay_over(merged[key], value)
        else:
            merged[key] = value
    return merged
