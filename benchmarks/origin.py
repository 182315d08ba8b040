"""The origin of a benchmark's figures, a part of every file in results/."""

import datetime
import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any


def origin(*packages: str, gpu: str | None = None) -> dict[str, Any]:
    """Command, date, machine, and versions of Python and of the named packages. `gpu`: its name, if one was used."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "schema_version": 1,
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "machine": {"cpu": cpu, "cores": len(os.sched_getaffinity(0))} | ({"gpu": gpu} if gpu else {}),
        "versions": {"python": platform.python_version()} | versions,
    }
