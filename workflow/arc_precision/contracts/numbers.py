"""Numbers in JSON, which has no NaN and no infinity."""

import math
from typing import Any


def or_null(value: Any) -> Any:
    """None for a float that is not finite; anything else as it is."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
