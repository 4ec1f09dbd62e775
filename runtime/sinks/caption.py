"""The bar below a preview: whose map it is, how many landslides, how large, and a scale bar."""

from dataclasses import dataclass
from math import floor, log10

import cv2
import numpy as np

from calanddet.runtime.picture import FONT, readable, shortened
from calanddet.runtime.types import Bytes

__all__ = ["BAR_HEIGHT", "Caption", "draw_caption"]

BAR_HEIGHT = 48
NARROWEST = 360
_GROUND, _TEXT, _FAINT = (23, 27, 32), (240, 242, 244), (150, 158, 166)
_SCALE, _SMALL = 0.6, 0.5
_MARGIN, _GAP = 16, 18
_LEGEND_ROOM = 420
"""Columns that the legend of circles wants: its own, and enough for a name after it."""


@dataclass(frozen=True, slots=True)
class Caption:
    """What the bar says. area_m2 and metre_per_px (of the picture) are None where they are not known.

    circled: whether small landslides have circles around them, which the bar then explains.
    """

    name: str
    count: int
    area_m2: float | None
    metre_per_px: float | None
    colour: tuple[int, int, int]
    circled: bool = False

    @property
    def finding(self) -> str:
        """Number and total area of the landslides, in words."""
        number = f"{self.count} landslide{'' if self.count == 1 else 's'}" if self.count else "no landslide"
        return number if self.area_m2 is None or not self.count else f"{number}, {_area(self.area_m2)}"


def draw_caption(picture: Bytes, caption: Caption) -> Bytes:
    """`picture`, uint8, (H, W, 4), RGBA, with a bar of BAR_HEIGHT below it, and wide enough for that."""
    width = picture.shape[1]
    bar = np.empty((BAR_HEIGHT, max(width, NARROWEST), 3), np.uint8)
    bar[:] = _GROUND
    room = bar.shape[1] - _MARGIN
    if caption.metre_per_px is not None and bar.shape[1] >= 2 * NARROWEST:
        room -= _scale_bar(bar, caption.metre_per_px) + _GAP
    finding = readable(caption.finding)
    left = _MARGIN
    cv2.rectangle(bar, (left, 17), (left + 14, 31), caption.colour, cv2.FILLED)
    left += 14 + 10
    left = _write(bar, finding, left, _TEXT) + _GAP
    if caption.circled and room - left > _LEGEND_ROOM:
        left = _legend(bar, caption.colour, left) + _GAP
    _write(bar, shortened(readable(caption.name), room - left, scale=_SCALE), left, _FAINT)
    wide = cv2.copyMakeBorder(picture, 0, 0, 0, bar.shape[1] - width, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    opaque = np.full(bar.shape[:2], 255, np.uint8)
    return np.concatenate([np.asarray(wide, np.uint8), np.dstack([bar, opaque])])


def _legend(bar: Bytes, colour: tuple[int, int, int], left: int) -> int:
    """Draw a circle and what it means; gives the column after it."""
    cv2.circle(bar, (left + 8, BAR_HEIGHT // 2), 8, colour, 1, cv2.LINE_AA)
    return _write(bar, "around a small one", left + 24, _FAINT)


def _write(bar: Bytes, text: str, left: int, colour: tuple[int, int, int]) -> int:
    """Write on the bar's middle line; gives the column after it."""
    height = cv2.getTextSize("0", FONT, _SCALE, 1)[0][1]
    cv2.putText(bar, text, (left, (BAR_HEIGHT + height) // 2), FONT, _SCALE, colour, 1, cv2.LINE_AA)
    return left + int(cv2.getTextSize(text, FONT, _SCALE, 1)[0][0])


def _scale_bar(bar: Bytes, metre_per_px: float) -> int:
    """Draw a round number of metres at the right end; gives the columns that it takes."""
    metres = _round_length(180 * metre_per_px)
    length = round(metres / metre_per_px)
    right, base = bar.shape[1] - _MARGIN, 36
    cv2.polylines(
        bar,
        [np.array([(right - length, base - 6), (right - length, base), (right, base), (right, base - 6)], np.int32)],
        False,
        _TEXT,
        2,
    )
    label = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    width = cv2.getTextSize(label, FONT, _SMALL, 1)[0][0]
    cv2.putText(bar, label, (right - (length + width) // 2, base - 10), FONT, _SMALL, _TEXT, 1, cv2.LINE_AA)
    return length + _MARGIN


def _round_length(longest: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above `longest`."""
    power = 10.0 ** floor(log10(longest))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= longest)


def _area(area_m2: float) -> str:
    if area_m2 >= 1e6:
        return f"{area_m2 / 1e6:.2f} km²"
    return f"{area_m2 / 1e4:.2f} ha" if area_m2 >= 1e4 else f"{area_m2:.4g} m²"
