"""Lines over an axis, as a picture: for what needs no plotting package."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import OptionError
from calanddet.runtime.picture import FONT, readable, text_width
from calanddet.runtime.types import Bytes

__all__ = ["PANEL_SIZE", "Panel", "draw_panel"]

PANEL_SIZE = (330, 960)
"""Rows and columns of a panel."""
_TOP, _BOTTOM, _LEFT, _RIGHT = 44, 40, 52, 190
_TICKS = 5
_SCALE = 0.42
_TEXT, _GRID, _MARK = (60, 60, 60), (225, 225, 225), (120, 120, 120)
_COLOURS = (
    (30, 80, 200),
    (220, 40, 40),
    (60, 160, 60),
    (160, 60, 180),
    (220, 150, 30),
    (120, 120, 120),
    (30, 160, 160),
)

Float = NDArray[np.float64]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One diagram.

    x: float64, (n,), not negative, increasing; series: float64, (n,), by the label in the legend, NaN where there is
    no value; top: the ordinate's end, by default the largest value; marks: vertical lines by their label.
    Raises OptionError where there is nothing to draw over.
    """

    title: str
    x: Float
    series: Mapping[str, Float]
    top: float | None = None
    marks: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.x.size or self.x[-1] <= 0 or any(values.shape != self.x.shape for values in self.series.values()):
            shapes = [values.shape for values in self.series.values()]
            raise OptionError(f"a diagram needs a positive axis and series as long, not {self.x.shape} and {shapes}")


def draw_panel(panel: Panel) -> Bytes:
    """The diagram, uint8, (*PANEL_SIZE, 3), RGB."""
    canvas = np.full((*PANEL_SIZE, 3), 255, np.uint8)
    finite = [values[np.isfinite(values)] for values in panel.series.values()]
    top = panel.top or max((float(values.max()) for values in finite if len(values)), default=1.0) or 1.0
    _axes(canvas, panel, top)
    for index, (label, x) in enumerate(panel.marks.items()):
        column = _column(panel, x)
        cv2.line(canvas, (column, _TOP), (column, PANEL_SIZE[0] - _BOTTOM), _MARK, 1)
        _text(canvas, label, (column + 5, _TOP + 12 + 15 * index), _MARK)
    for index, (label, values) in enumerate(panel.series.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        known = np.isfinite(values)
        columns = _LEFT + _width() * panel.x[known] / panel.x[-1]
        rows = PANEL_SIZE[0] - _BOTTOM - _height() * np.clip(values[known] / top, 0, 1)
        points = np.stack([columns, rows], 1).round().astype(np.int32)
        cv2.polylines(canvas, [points.reshape(-1, 1, 2)], False, colour, 2, cv2.LINE_AA)
        _text(canvas, label, (PANEL_SIZE[1] - _RIGHT + 14, _TOP + 10 + 18 * index), colour)
    return canvas


def _axes(canvas: Bytes, panel: Panel, top: float) -> None:
    right, base = PANEL_SIZE[1] - _RIGHT, PANEL_SIZE[0] - _BOTTOM
    for tick in range(_TICKS + 1):
        row = round(base - _height() * tick / _TICKS)
        cv2.line(canvas, (_LEFT, row), (right, row), _GRID, 1)
        _text(canvas, f"{top * tick / _TICKS:.2f}", (10, row + 4))
        end = panel.x[-1] * tick / _TICKS
        label = f"{end:.2f}" if panel.x[-1] < 2 * _TICKS else f"{end:.0f}"
        column = _column(panel, end)
        cv2.line(canvas, (column, base), (column, base + 4), _GRID, 1)
        _text(canvas, label, (column - text_width(label, _SCALE) // 2, base + 19))
    _text(canvas, panel.title, (_LEFT, _TOP - 16))


def _width() -> int:
    return PANEL_SIZE[1] - _LEFT - _RIGHT


def _height() -> int:
    return PANEL_SIZE[0] - _TOP - _BOTTOM


def _column(panel: Panel, x: float) -> int:
    return round(_LEFT + _width() * x / float(panel.x[-1]))


def _text(canvas: Bytes, text: str, place: tuple[int, int], colour: Colour = _TEXT) -> None:
    cv2.putText(canvas, readable(text), place, FONT, _SCALE, colour, 1, cv2.LINE_AA)
