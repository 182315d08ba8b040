"""Turns report.json into one HTML file. A pure function of it and of the template's folder."""

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup


def render(report: dict[str, Any], template_dir: Path) -> str:
    """The page. `report` is report.json as read; `template_dir` holds page.html.j2 and what it inlines."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = _number
    return environment.get_template("page.html.j2").render(report=report)


def _number(value: float | None, digits: int = 3) -> Markup:
    if value is None:
        return Markup('<span class="none">–</span>')
    return Markup('<data value="{}">{}</data>').format(value, f"{value:.{digits}g}")
