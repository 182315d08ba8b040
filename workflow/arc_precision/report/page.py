"""Turns report.json into one HTML file: a pure function of it and of the files in the template's folder.

Every number that the template writes stands in a `<data>` element with its full value, so that a test, or a reader's
own script, can hold the page against report.json.
"""

import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from arc_precision.report.written_numbers import difference_text, number, percent, value_text

NOTHING = Markup('<span class="none">–</span>')


def render(report: dict[str, Any], template_dir: Path) -> str:
    """The page. `report` is report.json as read; `template_dir` holds page.html.j2 and the files that it inlines."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value, digits=3: _data(value, lambda v: number(v, digits).replace("-", "\u2212")),
        "count": lambda value: _data(value, lambda v: f"{v:,.0f}".replace(",", "\u202f")),
        "share": lambda value: _data(value, percent),
        "metric": lambda value, name: _data(value, lambda v: value_text(v, name)),
        "difference": lambda value, name: _data(value, lambda v: difference_text(v, name)),
    }
    environment.globals |= {"inline": lambda name: Markup((template_dir / name).read_text(encoding="utf-8"))}
    return environment.get_template("page.html.j2").render(report=report, report_json=_embedded(report))


def _data(value: float | None, write) -> Markup:
    return NOTHING if value is None else Markup('<data value="{}">{}</data>').format(value, write(value))


def _embedded(report: dict[str, Any]) -> Markup:
    """JSON that cannot end the script element around it: a model writes the completions, and they may hold any text."""
    return Markup(json.dumps(report, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))
