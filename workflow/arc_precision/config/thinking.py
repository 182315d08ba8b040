"""The part of a completion in which a model thinks."""

from pydantic import Field

from arc_precision.config.base import Section


class Thinking(Section):
    """The tags around the thinking part. A program is looked for only behind it."""

    open: str = Field("<think>", min_length=1, description="Tag at its beginning.")
    close: str = Field("</think>", min_length=1, description="Tag at its end.")
