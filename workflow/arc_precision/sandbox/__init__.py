"""Runs untrusted programs; docs/sandbox.md says what each level guarantees."""

from arc_precision.sandbox.extraction import extract_program
from arc_precision.sandbox.pool import Sandbox, isolation_level, run_programs
from arc_precision.sandbox.reuse import run_each_once
from arc_precision.sandbox.verdicts import LEVELS, STATUSES, Limits, SandboxFault, Verdict

__all__ = [
    "LEVELS", "STATUSES", "Limits", "Sandbox", "SandboxFault", "Verdict", "extract_program", "isolation_level",
    "run_each_once", "run_programs",
]  # fmt: skip
