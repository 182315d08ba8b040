"""Small figures for documents, as SVG: points, lines and intervals between two axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

COLORS = ("#0b6e99", "#c2410c", "#5b7f00", "#7c3aed", "#a8185c", "#57606a")
WIDTH, HEIGHT = 640, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 40, 52  # margins


@dataclass(frozen=True)
class Axis:
    """The range of one direction, from `low` to `high`; on a logarithmic axis both are above 0."""

    label: str
    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """The place of a value: 0 at the low end, 1 at the high one. A value outside is put at the nearer end."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        return min((value - low) / (high - low), 1.0)

    def ticks(self) -> list[float]:
        """Round values between the ends."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            factors = (1, 2, 5) if last - first <= 3 else (1,)
            every = [factor * 10.0**decade for decade in range(first, last + 1) for factor in factors]
            return [tick for tick in every if self.low <= tick <= self.high]
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


class Figure:
    """Marks are drawn in the order in which they are added; marks with a label get a line in the legend."""

    def __init__(self, title: str, x: Axis, y: Axis) -> None:
        self.title, self.x, self.y = title, x, y
        self._marks: list[str] = []
        self._legend: dict[str, str] = {}
        self._n_uprights = 0

    def points(self, xs: Sequence[float], ys: Sequence[float], color: str, label: str = "") -> None:
        """Circles."""
        places = [(self._px(x), self._py(y)) for x, y in zip(xs, ys, strict=True)]
        self._marks += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{color}" fill-opacity="0.75"/>' for x, y in places]
        self._name(label, color)

    def line(self, xs: Sequence[float], ys: Sequence[float], color: str, label: str = "", stairs: bool = False) -> None:
        """A line through points; `stairs` keeps each value until the next x."""
        places = [(self._px(x), self._py(y)) for x, y in zip(xs, ys, strict=True)]
        path = " ".join(
            f"H{x} V{y}" if stairs and number else f"{'L' if number else 'M'}{x} {y}"
            for number, (x, y) in enumerate(places)
        )
        self._marks.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.8"/>')
        self._name(label, color)

    def interval(self, x: float, value: float, low: float, high: float, color: str) -> None:
        """A bar from `low` to `high` with a stroke at the value."""
        px, at = self._px(x), self._py(value)
        self._marks.append(
            f'<path d="M{px} {self._py(low)} V{self._py(high)} M{_short(float(px) - 7)} {at} h14" fill="none" '
            f'stroke="{color}" stroke-width="2"/>'
        )

    def upright(self, x: float, text: str) -> None:
        """A dashed line across the figure at `x`, with a word at its top."""
        px, y = self._px(x), _TOP + 10 + 14 * self._n_uprights
        self._n_uprights += 1
        self._marks.append(
            f'<path d="M{px} {_TOP} V{HEIGHT - _BOTTOM}" stroke="#8c959f" stroke-dasharray="4 3"/>'
            f'<text x="{px}" y="{y}" dx="3" fill="#57606a">{escape(text)}</text>'
        )

    def svg(self) -> str:
        """The picture."""
        bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'font-family="system-ui, sans-serif" font-size="12" role="img"><title>{escape(self.title)}</title>'
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        ]
        for tick in self.x.ticks():
            px = self._px(tick)
            parts.append(f'<path d="M{px} {_TOP} V{bottom}" stroke="#eaeef2"/>')
            parts.append(f'<text x="{px}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
        for tick in self.y.ticks():
            py = self._py(tick)
            parts.append(f'<path d="M{_LEFT} {py} H{right}" stroke="#eaeef2"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{py}" dy="4" text-anchor="end">{tick:g}</text>')
        turned = f'transform="translate(16 {(_TOP + bottom) / 2:g}) rotate(-90)"'
        parts += [
            f'<path d="M{_LEFT} {_TOP} V{bottom} H{right}" fill="none" stroke="#57606a"/>',
            f'<text x="{(_LEFT + right) / 2:g}" y="{HEIGHT - 12}" text-anchor="middle">{escape(self.x.label)}</text>',
            f'<text {turned} text-anchor="middle">{escape(self.y.label)}</text>',
            *self._marks,
        ]
        across = _LEFT
        for label, color in self._legend.items():
            parts.append(f'<rect x="{across}" y="14" width="10" height="10" fill="{color}"/>')
            parts.append(f'<text x="{across + 14}" y="23">{escape(label)}</text>')
            across += 30 + 7 * len(label)
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _name(self, label: str, color: str) -> None:
        if label:
            self._legend[label] = color

    def _px(self, x: float) -> str:
        return _short(_LEFT + self.x.place(x) * (WIDTH - _LEFT - _RIGHT))

    def _py(self, y: float) -> str:
        return _short(HEIGHT - _BOTTOM - self.y.place(y) * (HEIGHT - _TOP - _BOTTOM))


def _short(value: float) -> str:
    return f"{value:.1f}"
