"""The base of every section: unknown keys are errors, values never change, and a slice has one spelling."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Dtype = Literal["float32", "float16", "bfloat16"]
Device = Literal["cpu", "cuda"]
Head = Literal["model", "float32"]  # of the LM head's logits: that of the rest, or float32
MAX_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]  # the range of numpy's generators


def _file_name(name: str) -> str:
    # Snakemake refuses names that repeat a part 20 times.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or re.search(r"(.+?)\1{19}", name):
        raise ValueError(
            f"{name!r:.80} is not possible; write at most 64 letters, digits, -, _ and ., first a letter or digit"
        )
    return name


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise ValueError(
            f"{name!r:.80} is not possible; write at most 64 letters, digits, - and _, first a letter or digit"
        )
    return _file_name(name)


def _path(path: str) -> str:
    if path != path.strip() or not path.isprintable():
        raise ValueError(f"{path!r:.80} is not possible; write a path without blanks around it and without line breaks")
    return path


FileName = Annotated[str, AfterValidator(_file_name)]
Name = Annotated[str, AfterValidator(_name)]  # part of a file's name, before a dot
PathText = Annotated[str, AfterValidator(_path)]


def _weights(weights: tuple[float, ...]) -> tuple[float, ...]:
    if min(weights) < 0 or not sum(weights):
        raise ValueError(f"{list(weights)} are no weights; write numbers from 0 up, one of them above 0")
    return weights


DepthWeights = Annotated[tuple[float, float, float], AfterValidator(_weights)]


class Section(BaseModel):
    """A part of the configuration. Unknown keys, and numbers that are not finite, raise `pydantic.ValidationError`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _words_of_yaml(cls, values: Any) -> Any:
        """Undo two conversions: YAML reads the word `off` as false, and pydantic would accept true as the number 1."""
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            key: _as_word(value, _innermost(fields[key].annotation)) if key in fields else value
            for key, value in values.items()
        }


def _as_word(value: Any, wanted: set[Any]) -> Any:
    if value is False and "off" in wanted:
        return "off"
    if wanted <= {int, float}:
        if isinstance(value, list | tuple):
            return [_as_word(each, wanted) for each in value]
        if isinstance(value, bool):
            return json.dumps(value)  # text, so that pydantic reports that it is no number
    return value


def _innermost(annotation: Any) -> set[Any]:
    """The types, or a literal's values, that an annotation is made of, null left out."""
    parts = [part for part in get_args(annotation) if part not in (Ellipsis, type(None))]
    if not parts:
        return {annotation}
    if hasattr(annotation, "__metadata__"):
        parts = parts[:1]
    return set().union(*(_innermost(part) for part in parts))


S = TypeVar("S", bound=Section)


def as_words(section: Section) -> tuple[str, ...]:
    """The section as sorted `key=value` lines, keys dotted, values in JSON.

    A rule carries these lines as its params. Snakemake compares params as a set: the order of keys does not matter, two
    values that swap places are two changes, and the reason that Snakemake prints is the changed lines. The result is a
    tuple because Snakemake looks for wildcards in every element of a list, again for each job.
    """
    return tuple(sorted(f"{key}={json.dumps(value)}" for key, value in flat(section.model_dump(mode="json")).items()))


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one, its keys dotted; an empty mapping is a value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value) if isinstance(value, Mapping) else {}
        found |= {f"{key}.{name}": leaf for name, leaf in inner.items()} or {key: value}
    return found


def from_words(model: type[S], lines: Iterable[str]) -> S:
    """The section that `as_words` wrote.

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
