"""The commented config.yaml and its JSON schema, both generated from the typed model."""

import json
import textwrap
from typing import Any

import yaml
from pydantic import BaseModel

from arc_precision.config.experiment import ExperimentConfig

SCHEMA_PATH = "workflow/schemas/config.schema.json"

HEADER = f"""\
# yaml-language-server: $schema={SCHEMA_PATH}
# The default experiment: a tiny embedded model, float16 against bfloat16, minutes on two CPU cores.
# Experiments in experiments/ are laid over this file:  snakemake --configfile experiments/NAME.yaml
# An edit reruns exactly what it touches; docs/staleness.md lists it key by key.
# Defaults and comments are generated (make config); change values freely, a wrong key or value is refused at once.
"""


def config_schema() -> str:
    """JSON schema of the configuration, for editors."""
    return json.dumps(ExperimentConfig.model_json_schema(), indent=2) + "\n"


def config_yaml(config: ExperimentConfig) -> str:
    """The configuration as YAML, each key under a comment with its description."""
    return HEADER + "".join(_lines(config, config.model_dump(mode="json", exclude_unset=False), 0, set()))


def _lines(section: BaseModel, values: dict[str, Any], depth: int, told: set[tuple[str, str | None]]):
    """Lines of a section. A key with the same meaning in several sections is explained (`told`) only in the first."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if depth == 0:
            yield "\n"
        if (name, field.description) not in told:
            yield from _comment(field.description, depth)
            told.add((name, field.description))
        if isinstance(value, BaseModel):
            yield f"{'  ' * depth}{name}:\n"
            yield from _lines(value, values[name], depth + 1, told)
        elif isinstance(value, dict) and value:
            yield f"{'  ' * depth}{name}:\n"
            for key, entry in values[name].items():
                kept = {k: v for k, v in entry.items() if v != {}} if isinstance(entry, dict) else entry
                yield f"{'  ' * (depth + 1)}{key}: {_flow(kept)}\n"
        else:
            yield f"{'  ' * depth}{name}: {_flow(values[name])}\n"


def _comment(text: str | None, depth: int):
    indent = "  " * depth
    for line in textwrap.wrap(text or "", width=110 - len(indent)):
        yield f"{indent}# {line}\n"


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()
