"""The start of every script, and its exit after a fault."""

import errno
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# On a CPU these libraries report at every start that there is no Triton.
SAID_AT_EVERY_START = ("vllm.triton_utils.importing", "torch._library.triton")


def run(main: Callable[[], None]) -> None:
    """Call a script's `main` with logging to stderr.

    A ValueError is a fault of the input: its sentence goes to stderr and the exit status is 1. A full disk ends the
    script in the same way. Any other exception is a fault of the program and keeps its traceback.
    """
    if main.__module__ == "__mp_main__":
        return  # processes that a script starts import the script itself
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("arc_precision").setLevel(logging.INFO)
    for name in SAID_AT_EVERY_START:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    except Exception as error:
        if sentence := full_disk(error):
            raise SystemExit(f"error: {sentence}") from None
        raise


def full_disk(error: Exception) -> str | None:
    """A sentence if a full disk caused the exception, else None. Not all libraries raise OSError then."""
    folders = [Path.cwd(), Path(tempfile.gettempdir())]
    free_mb = {folder: shutil.disk_usage(folder).free // 2**20 for folder in folders}
    said = any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))
    if not said and all(free_mb.values()):
        return None
    free = ", ".join(f"{mb} MB free in {folder}" for folder, mb in free_mb.items())
    return f"no space was left on the disk ({free}); free some and start again: what was there before is kept"


def hide_torch() -> None:
    """Hide PyTorch from later imports, in a process that uses only tokenizers of transformers.

    PyTorch takes most of the time of importing transformers.
    """
    sys.modules["torch"] = None
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"  # a warning that PyTorch is missing
