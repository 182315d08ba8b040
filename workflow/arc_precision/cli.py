"""What scripts share as programs: how they start and how they fail."""

import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

# On a CPU these tell at every start that there is no Triton.
SAID_AT_EVERY_START = ("vllm.triton_utils.importing", "torch._library.triton")


def run(main: Callable[[], None]) -> None:
    """Call a script's `main` with logging to stderr.

    A ValueError is a fault of the input: its sentence goes to stderr and the exit status is 1. Any other exception is a
    fault of the program and keeps its traceback.
    """
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("arc_precision").setLevel(logging.INFO)
    for name in SAID_AT_EVERY_START:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None


def folders(files: Iterable[Path]) -> list[Path]:
    """The folders of some files, each once, in order."""
    return list(dict.fromkeys(file.parent for file in files))


def hide_torch() -> None:
    """Let no later import find PyTorch, in a process that needs no more of transformers than a tokenizer.

    Most of the time that transformers takes to import is PyTorch's.
    """
    sys.modules["torch"] = None
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"  # that there is no PyTorch
