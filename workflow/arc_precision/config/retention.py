"""Files that stay on disk."""

from typing import Literal

from pydantic import Field

from arc_precision.config.base import Section


class RetentionConfig(Section):
    """Never part of a slice: keeping files changes no result."""

    trainer_states: Literal["last", "all"] = Field(
        "last",
        description="Optimizer and scheduler states kept after a finished invocation: those of each run's last "
        "checkpoint, from which a longer run continues, or all. Adapters are always kept.",
    )
    weights: Literal["last", "all"] = Field(
        "all",
        description="Models of full fine-tuning kept after a finished invocation, 4 bytes a parameter each. A "
        "later job that needs a removed one trains its run again.",
    )
    min_free_disk_mb: int = Field(2000, ge=0, description="Free disk below which no invocation starts.")
