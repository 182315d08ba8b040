"""Faults of a configuration in plain words: the key, its value as YAML writes it, and what to write instead."""

import difflib
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

MOST_CHARACTERS = 80


def sentences(error: ValidationError, root: type[BaseModel], prefix: str = "") -> list[str]:
    """One sentence per section that has faults, in the order of the faults.

    Args:
        root: the model that was validated.
        prefix: the keys that lead to the model in the configuration.
    """
    found: dict[str, list[str]] = {}
    unknown: dict[str, dict[str, Any]] = {}
    faults = error.errors()
    for fault in faults:
        if fault["type"] == "too_short" and any(_is_within(other["loc"], fault["loc"]) for other in faults):
            continue  # pydantic counts the values that are possible
        place = _Place(root, fault["loc"], prefix)
        if fault["type"] == "extra_forbidden":
            unknown.setdefault(place.section_key, {})[place.parts[-1]] = fault["input"]
            found.setdefault(place.section_key, [])
        else:
            found.setdefault(place.section_key, []).append(_sentence(fault, place))
        if fault["type"] == "extra_forbidden" and len(unknown[place.section_key]) == 1:
            found[place.section_key].append(place)
    return [
        "; and ".join(
            _unknown(part, unknown[section]) if isinstance(part, _Place) else part for part in dict.fromkeys(parts)
        )
        for section, parts in found.items()
    ]


def shown(value: Any) -> str:
    """A value as YAML writes it, on one line and shortened; text in quotes."""
    if isinstance(value, str):
        text = repr(value)
    else:
        try:
            text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
        except yaml.YAMLError:
            text = str(value)
        text = " ".join(text.removesuffix("\n...\n").split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def listed(names: Iterable[Any], last: str = "and") -> str:
    """`a, b and c`."""
    *first, end = map(str, names)
    return f"{', '.join(first)} {last} {end}" if first else end


def _is_within(location: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


class _Place:
    """The place of a fault: its field, and the keys that lead there, without list numbers and pydantic's additions."""

    def __init__(self, root: type[BaseModel], location: tuple[int | str, ...], prefix: str) -> None:
        self.parts: list[str] = []
        self.section: type[BaseModel] = root
        self.field: FieldInfo | None = None
        self.tagged = False
        """Whether the key `kind` decides which other keys exist."""
        n_section = 0
        model: Any = root
        for part in location:
            model = _bare(model)
            kinds = _kinds(model)
            if part in kinds:
                self.tagged = True
                model = kinds[part]
                n_section, self.section = len(self.parts), model
            elif isinstance(model, type) and issubclass(model, BaseModel):
                n_section, self.section = len(self.parts), model
                self.parts.append(str(part))
                self.field = model.model_fields.get(str(part))
                model = self.field.annotation if self.field else None
            elif get_origin(model) is dict:
                names, model = get_args(model)
                if location[-1] == "[key]":
                    model = names  # the name itself is at fault, and the sentence quotes it
                    break
                self.parts.append(str(part))
            elif get_origin(model) is tuple:
                model = get_args(model)[0]
        self.kinds = _kinds(_bare(model))
        before = [prefix] if prefix else []
        self.key = ".".join(before + self.parts)
        self.section_key = ".".join(before + self.parts[:n_section])


def _bare(annotation: Any) -> Any:
    """An annotation without its metadata and without null."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        others = [each for each in get_args(annotation) if each is not NoneType]
        return _bare(others[0]) if len(others) == 1 else annotation
    return annotation


def _kinds(annotation: Any) -> dict[str, type[BaseModel]]:
    """The sections that an annotation lets `kind` choose from."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    return {kind: member for member in members for kind in get_args(member.model_fields["kind"].annotation)}


def _unknown(place: _Place, keys: dict[str, Any]) -> str:
    known = list(place.section.model_fields)
    if len(keys) > 1:
        lead = f"{place.section_key}: " if place.section_key else ""
        own_name = (
            "; experiments are laid over config.yaml key by key, so write a source of another kind under a new name"
        )
        return f"{lead}unknown keys {listed(keys)}; known keys are {', '.join(known)}{own_name if place.tagged else ''}"
    (name, value), *_ = keys.items()
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    hint = f"did you mean {close[0]}?" if close else f"known keys are {', '.join(known)}"
    return f"{place.key}: unknown key (value {shown(value)}); {hint}"


def _sentence(fault: dict[str, Any], place: _Place) -> str:
    key, value, ctx = place.key, fault["input"], fault.get("ctx", {})
    lead = f"{key}: " if key else ""
    match fault["type"]:
        case "value_error":
            return f"{lead}{ctx['error']}"
        case "invalid_key":
            return f"{lead}the key {shown(value)} is no text; write keys as text, such as max_steps"
        case "missing" if isinstance(fault["loc"][-1], str):
            return f"{lead}missing; {_wanted(place.field)}"
        case "union_tag_not_found":
            return f"{lead}kind is missing; write kind: {listed(place.kinds, 'or')}"
        case "union_tag_invalid":
            return f"{key}.kind: {shown(value['kind'])} is not possible; write {listed(place.kinds, 'or')}"
        case "too_short" if ctx["actual_length"] == 0:
            return f"{lead}the list is empty; write at least one value{_such_as(place)}"
        case "missing" | "too_short" | "too_long":
            wanted = ctx.get("max_length") or ctx.get("min_length") or len(get_args(place.field.annotation))
            return f"{lead}{shown(value)} has not {wanted} values; write {wanted}{_such_as(place)}"
        case kind:
            return f"{lead}{shown(value)} is not possible; {_instead(kind, value, ctx, place) or fault['msg']}"


def _instead(kind: str, value: Any, ctx: dict[str, Any], place: _Place) -> str | None:
    match kind:
        case "literal_error":
            return f"write {ctx['expected']}"
        case "string_type":
            if value is None:
                return f"write text{_such_as(place)}"
            read = " (YAML reads yes, no, on and off as true and false)" if isinstance(value, bool) else ""
            return f"write text, in quotes: '{shown(value)}'{read}"
        case "string_too_short":
            return f"write text{_such_as(place)}"
        case "string_too_long":
            return f"write at most {ctx['max_length']} characters"
        case "int_type" | "int_parsing" | "int_parsing_size" | "int_from_float":
            return f"write a whole number{_such_as(place)}"
        case "float_type" | "float_parsing":
            return f"write a number{_such_as(place)}"
        case "finite_number":
            return f"write a finite number{_such_as(place)}"
        case "bool_type" | "bool_parsing":
            return "write true or false"
        case "greater_than":
            return f"write a number above {ctx['gt']}"
        case "greater_than_equal":
            return f"write {ctx['ge']} or more"
        case "less_than":
            return f"write a number below {ctx['lt']}"
        case "less_than_equal":
            return f"write {ctx['le']} or less"
        case "tuple_type" | "list_type":
            plain = isinstance(value, str | int | float)
            return f"write a list: [{value}]" if plain else f"write a list{_such_as(place)}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "write keys with their values below it, or leave it out"
    return None


def _wanted(field: FieldInfo) -> str:
    """What to write for a key that has no default."""
    if get_origin(field.annotation) is Literal:
        return f"write {listed(map(repr, get_args(field.annotation)), 'or')}"
    return "write true or false" if field.annotation is bool else f"write one: {field.description.rstrip('.')}"


def _such_as(place: _Place) -> str:
    """The field's default as an example, if it has a usable one."""
    default = place.field.get_default(call_default_factory=True) if place.field else PydanticUndefined
    if default in (PydanticUndefined, None, ()) or isinstance(default, BaseModel | dict):
        return ""
    return f", such as {shown(list(default) if isinstance(default, tuple) else default)}"
