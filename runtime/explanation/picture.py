"""Pictures for people: a map on its image with a legend, and all of them on one sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.explanation.colours import UNIT_SCALE, Scale, laid_over
from calanddet.runtime.explanation.tiled import Floats
from calanddet.runtime.picture import FONT, readable, shortened, text_width
from calanddet.runtime.types import Bytes, Pixels

__all__ = ["BAR", "NARROWEST", "Drawing", "draw", "sheet"]

T = TypeVar("T", np.uint8, np.float32)

BAR = 68
"""Height of the legend below a picture, in pixels."""
NARROWEST = 400
"""Least width of a picture, so that its legend can be read."""
COLUMNS = 3
_GROUND, _TEXT, _MIDDLE = (23, 27, 32), (240, 242, 244), (128, 128, 128)
_MARK, _CASING = (0, 255, 120), (0, 0, 0)
_SIZE = 0.5
_MARGIN, _LINE, _GAP = 10, 22, 6


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """What a picture shows: the image alone, or `values`, float32 (h, w) over all of it, on `scale`.

    mark: a pixel to point at, as (row, col) shares of the image's height and width.
    """

    title: str
    values: Floats | None = None
    scale: Scale = UNIT_SCALE
    mark: tuple[float, float] | None = None


def draw(image: Pixels, drawing: Drawing, size: tuple[int, int]) -> Bytes:
    """The drawing in (height, width) with its legend below: uint8, (height + BAR, at least NARROWEST, 3), RGB."""
    rgb, valid = _resized(image.rgb, size), _resized(image.valid.astype(np.uint8), size, cv2.INTER_NEAREST) > 0
    if drawing.values is not None:
        known = np.isfinite(drawing.values)
        position = _resized(drawing.scale.position(drawing.values), size)
        shown = valid & (_resized(known.astype(np.uint8), size, cv2.INTER_NEAREST) > 0)
        rgb = laid_over(rgb, np.asarray(position * shown, np.float32))
    rgb[~valid] = 0
    if drawing.mark is not None:
        _point_at(rgb, drawing.mark)
    spare = max(0, NARROWEST - size[1])
    wide = cv2.copyMakeBorder(rgb, 0, 0, spare // 2, spare - spare // 2, cv2.BORDER_CONSTANT, value=_GROUND)
    return np.concatenate([np.asarray(wide, np.uint8), _legend(drawing, size[1] + spare)])


def sheet(pictures: Sequence[Bytes], notes: Sequence[str]) -> Bytes:
    """Pictures of one size in rows of COLUMNS, sentences below: uint8, (H, W, 3), RGB."""
    height, width = pictures[0].shape[:2]
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    page = _ground(rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP)
    for place, picture in enumerate(pictures):
        top, left = (height + _GAP) * (place // columns), (width + _GAP) * (place % columns)
        page[top : top + height, left : left + width] = picture
    lines = [line for note in notes for line in _wrapped(note, page.shape[1] - 2 * _MARGIN)]
    if not lines:
        return page
    foot = _ground(len(lines) * _LINE + _MARGIN, page.shape[1])
    for number, line in enumerate(lines):
        _write(foot, line, _MARGIN, (number + 1) * _LINE - 2)
    return np.concatenate([page, foot])


def _legend(drawing: Drawing, width: int) -> Bytes:
    """The title, and below it the colours with the values at their ends."""
    bar = _ground(BAR, width)
    _write(bar, shortened(readable(drawing.title), width - 2 * _MARGIN, scale=_SIZE), _MARGIN, _LINE)
    if drawing.values is None:
        return bar
    low, high = f"{drawing.scale.low:.3g}", f"{drawing.scale.high:.3g}"
    left = _MARGIN + text_width(low, _SIZE) + _MARGIN
    right = width - 2 * _MARGIN - text_width(high, _SIZE)
    _write(bar, low, _MARGIN, 2 * _LINE + 8)
    _write(bar, high, right + _MARGIN, 2 * _LINE + 8)
    values = np.linspace(drawing.scale.low, drawing.scale.high, right - left, dtype=np.float32)
    # On a grey of its own and with the opacity of the picture, so that colours are those of the picture.
    ground = np.full((_LINE, right - left, 3), _MIDDLE, np.uint8)
    bar[_LINE + 14 : 2 * _LINE + 14, left:right] = laid_over(
        ground, np.tile(drawing.scale.position(values), (_LINE, 1))
    )
    return bar


def _ground(height: int, width: int) -> Bytes:
    return np.full((height, width, 3), _GROUND, np.uint8)


def _resized(values: NDArray[T], size: tuple[int, int], kind: int | None = None) -> NDArray[T]:
    """Any (H, W) or (H, W, 3) of uint8 or float32 as (height, width), as an array of its own."""
    resized: NDArray[T] = np.empty((*size, *values.shape[2:]), values.dtype)
    shrinks = values.shape[0] > size[0] or values.shape[1] > size[1]
    chosen = (cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR) if kind is None else kind
    cv2.resize(values, size[::-1], dst=resized, interpolation=chosen)
    return resized


def _point_at(rgb: Bytes, mark: tuple[float, float]) -> None:
    """A circle around a pixel, in place."""
    centre = int(mark[1] * rgb.shape[1]), int(mark[0] * rgb.shape[0])
    for colour, thickness in ((_CASING, 4), (_MARK, 2)):
        cv2.circle(rgb, centre, 9, colour, thickness, cv2.LINE_AA)


def _write(bar: Bytes, text: str, left: int, base: int) -> None:
    cv2.putText(bar, readable(text), (left, base), FONT, _SIZE, _TEXT, 1, cv2.LINE_AA)


def _wrapped(text: str, room: int) -> list[str]:
    """`text` in lines that fit into `room` columns, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(readable(longer), _SIZE) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
