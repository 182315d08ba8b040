"""The part of a completion in which a model thinks."""

from pydantic import Field

from arc_precision.config.base import Section


class Thinking(Section):
    """What stands around it. A program is looked for behind it alone."""

    open: str = Field("<think>", min_length=1, description="What it begins with.")
    close: str = Field("</think>", min_length=1, description="What it ends with.")
