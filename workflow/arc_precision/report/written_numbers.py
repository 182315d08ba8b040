"""The text of numbers on the page and in the verdict."""

PLAIN_METRICS = ("reward", "completion_tokens", "tokens_per_task")  # all other metrics of an evaluation are shares


def value_text(value: float, metric: str) -> str:
    """A value of a metric: shares in percent, the rest with three significant digits."""
    return _minus(f"{value:.3g}" if metric in PLAIN_METRICS else f"{100 * value:.1f} %")


def difference_text(value: float, metric: str) -> str:
    """A signed difference: shares in percentage points. What rounds to zero has no sign."""
    text = f"{value:+.3g}" if metric in PLAIN_METRICS else f"{100 * value:+.1f}"
    text = text if float(text) else text[1:]
    return _minus(text if metric in PLAIN_METRICS else f"{text} points")


def size_text(value: float, metric: str) -> str:
    """The size of a difference."""
    return f"{abs(value):.3g}" if metric in PLAIN_METRICS else f"{100 * abs(value):.1f} points"


def range_text(low: float, high: float, metric: str) -> str:
    """The two ends of an interval of differences, the unit once."""
    low_text, high_text = (difference_text(end, metric).removesuffix(" points") for end in (low, high))
    return f"{low_text} to {high_text}" + ("" if metric in PLAIN_METRICS else " points")


def percent(share: float) -> str:
    """A share as a percentage without needless digits."""
    return f"{100 * share:.3g} %"


def number(value: float, digits: int = 2) -> str:
    """A number with few significant digits: 0.016, 8.1, 8500, 1.9e-7."""
    short = f"{value:.{digits}g}"
    if abs(value) >= 10**digits:
        short = f"{float(short):.0f}"
    return short.replace("e-0", "e-")


def enumeration(words: list[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")
