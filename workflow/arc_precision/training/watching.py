"""Live curves of a run during training, written through transformers by a library of the user's choice."""

import importlib.util
import os
from pathlib import Path
from typing import Any


def reporting(watch: str, run_dir: Path) -> dict[str, Any]:
    """Arguments that make transformers write curves. Sets the variables by which a library finds its folder.

    A run's segments continue one curve.

    Args:
        watch: `none`, `tensorboard`, `trackio` or `wandb`.
        run_dir: folder of the run, whose path names the experiment, the arm and the seed.

    Raises:
        ValueError: the library is not installed.
    """
    if watch == "none":
        return {"report_to": []}
    if importlib.util.find_spec(watch) is None:
        raise ValueError(f"watch: {watch} is not installed; write watch: none, or run: pip install {watch}")
    results = run_dir.parents[2]
    folder = results / "watch" / watch
    run = "-".join(run_dir.parts[-2:])
    if watch == "tensorboard":
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / run)
    elif watch == "trackio":
        os.environ.setdefault("TRACKIO_DIR", str(folder))
    else:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DIR", str(folder))
        os.environ.setdefault("WANDB_PROJECT", results.name)
        os.environ |= {"WANDB_RUN_ID": f"{results.name}-{run}", "WANDB_RESUME": "allow"}
    return {"report_to": [watch], "project": results.name, "run_name": run}
