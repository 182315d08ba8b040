"""Reading a configuration file more strictly than Snakemake does: a key that stands twice is a fault."""

from pathlib import Path
from typing import Any

import yaml


class _Strict(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in lines and key.tag != "tag:yaml.org,2002:merge":
                raise ValueError(f"{key.value}: stands twice, in lines {lines[key.value]} and {line}; keep one of them")
            lines[str(key.value)] = line
        return super().construct_mapping(node, deep)


_Strict.add_constructor("tag:yaml.org,2002:map", lambda loader, node: loader.construct_mapping(node, deep=True))
for _kind in ("binary", "omap", "pairs", "set"):  # no setting is of these
    _Strict.add_constructor(f"tag:yaml.org,2002:{_kind}", yaml.SafeLoader.construct_undefined)


def read_config(path: Path | str) -> dict[str, Any]:
    """The content of a configuration file.

    Raises:
        ValueError: it is not YAML, has no keys, or has one twice; the message names file and key.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.load(file, Loader=_Strict)  # a SafeLoader
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; write the path of a configuration file") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: no keys in it; write some, such as max_steps: 40")
    return content
