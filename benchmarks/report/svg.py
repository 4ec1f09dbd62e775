"""SVG as text: elements, and a frame with axes to draw in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import ceil, floor, isfinite, log10

__all__ = ["COLOURS", "Frame", "Scale", "colour", "element", "told"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#666666")
"""Okabe and Ito's, told apart by most colour-blind readers too."""
TICKS = 6


def colour(number: int) -> str:
    """The colour of the number-th series."""
    return COLOURS[number % len(COLOURS)]


def element(name: str, text: str | None = None, **attributes: object) -> str:
    """One element; underscores in names stand for hyphens, numbers are rounded to a tenth of a pixel."""
    words = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{words}/>" if text is None else f"<{name}{words}>{escape(text)}</{name}>"


def _value(value: object) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(str(value), quote=True)


def told(value: float) -> str:
    """A number as a label: four digits that count, or all before the point up to a million; no needless zeros."""
    if value == 0 or not isfinite(value):
        return f"{value:g}"
    if 1e3 <= abs(value) < 1e6:
        return f"{value:.0f}"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places along an axis: `low` lies at `start`, `high` at `stop` (pixels)."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        if self.log:
            share = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    @classmethod
    def over(
        cls, values: Sequence[float], start: float, stop: float, *, log: bool = False, zero: bool = True
    ) -> "Scale":
        """A scale that holds all values with some room; `zero`: and 0, where it is not logarithmic."""
        low, high = min(values), max(values)
        if log:
            return cls(low / 1.5, high * 1.5, start, stop, True)
        low = min(0.0, low) if zero else low
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        return cls(low if zero and low == 0.0 else low - room, high + room, start, stop)

    def ticks(self) -> list[float]:
        """Round values along the axis, few enough to be labelled."""
        if self.log:
            decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
            steps = (1, 2, 5) if log10(self.high / self.low) < 2.5 else (1,)
            return [step * 10.0**decade for decade in decades for step in steps if self._holds(step * 10.0**decade)]
        rough = (self.high - self.low) / TICKS
        power = 10.0 ** floor(log10(rough))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
        return [number * step for number in range(ceil(self.low / step), floor(self.high / step) + 1)]

    def _holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(slots=True)
class Frame:
    """A plot of fixed size with a left and a lower axis; `parts` are drawn in order."""

    title: str
    x_label: str
    y_label: str
    width: int = 560
    height: int = 320
    left: int = 64
    right: int = 16
    top: int = 34
    bottom: int = 46
    parts: list[str] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)

    def x_scale(self, values: Sequence[float], *, log: bool = False, zero: bool = True) -> Scale:
        """A scale for the lower axis."""
        return Scale.over(values, float(self.left), float(self.width - self.right), log=log, zero=zero)

    def y_scale(self, values: Sequence[float], *, log: bool = False, zero: bool = True) -> Scale:
        """A scale for the left axis, upwards."""
        return Scale.over(values, float(self.height - self.bottom), float(self.top), log=log, zero=zero)

    def axes(self, x: Scale | None, y: Scale | None, *, x_ticks: Sequence[float] | None = None) -> None:
        """Draw grid and labels; an axis without a scale is left to the plot."""
        floor_y, left, right = self.height - self.bottom, self.left, self.width - self.right
        if y is not None:
            for value in y.ticks():
                self.parts.append(element("line", class_="grid", x1=left, x2=right, y1=y(value), y2=y(value)))
                self.text(left - 6.0, y(value) + 4.0, told(value), anchor="end")
        if x is not None:
            for value in x_ticks if x_ticks is not None else x.ticks():
                self.parts.append(element("line", class_="grid", x1=x(value), x2=x(value), y1=self.top, y2=floor_y))
                self.text(x(value), floor_y + 16.0, told(value), anchor="middle")
        self.parts.append(element("line", class_="axis", x1=left, x2=right, y1=floor_y, y2=floor_y))
        self.parts.append(element("line", class_="axis", x1=left, x2=left, y1=self.top, y2=floor_y))

    def line(self, points: Sequence[tuple[float, float]], stroke: str, *, dashed: bool = False) -> None:
        """A line through places in pixels."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = {"stroke_dasharray": "5 4"} if dashed else {}
        self.parts.append(element("polyline", points=path, fill="none", stroke=stroke, stroke_width=2, **dash))

    def dot(self, x: float, y: float, fill: str, *, said: str) -> None:
        """A point that tells its numbers when the mouse is on it."""
        title = element("title", said)
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}">{title}</circle>')

    def bar(self, x: float, y: float, width: float, height: float, fill: str, *, said: str) -> None:
        """A rectangle that tells its numbers when the mouse is on it."""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}"'
        self.parts.append(f'<rect {place} fill="{fill}">{element("title", said)}</rect>')

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> None:
        """A label."""
        self.parts.append(element("text", text, x=x, y=y, text_anchor=anchor, font_weight=weight))

    def figure(self) -> str:
        """The whole plot with its legend, as an HTML figure."""
        middle = (self.left + self.width - self.right) / 2
        self.text(float(self.left), 18.0, self.title, weight="bold")
        self.text(middle, self.height - 8.0, self.x_label, anchor="middle")
        y = (self.top + self.height - self.bottom) / 2
        turned = f"rotate(-90 14 {y:.0f})"
        label = element("text", self.y_label, x=14, y=y, text_anchor="middle", transform=turned)
        view = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        body = "".join([element("title", self.title), label, *self.parts])
        drawn = f'<svg xmlns="http://www.w3.org/2000/svg" {view} role="img">{body}</svg>'
        told_by = "".join(f'<li style="color:{fill}"><span>{escape(name)}</span></li>' for name, fill in self.legend)
        return f"<figure>{drawn}<ul>{told_by}</ul></figure>"
