"""Limits on the programs that a model writes."""

from typing import Literal

from pydantic import Field

from arc_precision.config.base import Section


class SandboxConfig(Section):
    """Limits on one program with all its grids. Verdicts depend on them, so all stages share one section."""

    cpu_s: float = Field(1.0, gt=0, le=3600, description="CPU seconds per program, all of its grids together.")
    wall_s: float = Field(5.0, gt=0, le=3600, description="Wall-clock seconds per program, for one that sleeps.")
    memory_mb: int = Field(1024, ge=64, description="Address space per program.")
    max_side: int = Field(30, ge=1, le=30, description="Longest side of an output grid.")
    min_level: Literal["none", "rlimit", "seccomp", "landlock", "full"] = Field(
        "rlimit", description="Least isolation that this machine must offer, else the run is refused."
    )
