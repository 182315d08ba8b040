"""What every script's command line shares."""

import logging
import sys
from collections.abc import Callable


def run(main: Callable[[], None]) -> None:
    """Call a script's `main` with logging to stderr.

    A ValueError is a fault of the input: its sentence goes to stderr and the exit status is 1. Any other exception is a
    fault of the program and keeps its traceback.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
