"""What every section shares: unknown keys are errors, values never change, and dicts have one spelling."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Dtype = Literal["float32", "float16", "bfloat16"]
Device = Literal["cpu", "cuda"]


class Section(BaseModel):
    """A part of the configuration. Unknown keys raise `pydantic.ValidationError`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def canonical(section: Section) -> str:
    """The section as JSON with sorted keys: equal settings give equal text, whatever their order in the file."""
    return json.dumps(section.model_dump(mode="json"), sort_keys=True)


def lay_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top; mappings merge, everything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = lay_over(merged[key], value)
        else:
            merged[key] = value
    return merged
