"""Coordinates as text, a whole array at once, and rings closed and turned the way a format wants them."""

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.measure import following
from calanddet.runtime.polygons.trace import slices
from calanddet.runtime.types import Bool, Bytes

__all__ = ["closed", "counter_clockwise", "decimals_for", "position_text"]

Int = NDArray[np.int64]
Float = NDArray[np.float64]

METRES_PER_DEGREE = 111_320.0


def decimals_for(gsd_m: float | None) -> int:
    """Decimals of a degree that keep a position within a centimetre and a tenth of a pixel: at least 7."""
    step = min(0.02, gsd_m / 5.0) if gsd_m else 0.02
    return int(np.ceil(np.log10(METRES_PER_DEGREE / step)))


def position_text(points: Float, decimals: int) -> Bytes:
    """Each point as JSON, `[x,y],`, in rows of equal length: uint8, (V, L), with spaces that may be dropped.

    points: float64, (V, 2), below 1e9 in size; rounded to `decimals`, half to even.
    """
    x, y = (_fixed(points[:, axis], decimals) for axis in (0, 1))
    row = np.frombuffer(b"[" + b" " * x.shape[1] + b"," + b" " * y.shape[1] + b"],", np.uint8)
    text = np.tile(row, (len(points), 1))
    text[:, 1 : 1 + x.shape[1]] = x
    text[:, -2 - y.shape[1] : -2] = y
    return text


def counter_clockwise(points: Float, size: Int) -> Bool:
    """Which rings run counter-clockwise, x to the right and y upwards: bool, (R,)."""
    start = np.cumsum(size) - size
    local = points - np.repeat(points[start], size, axis=0)
    after = local[following(size)]
    return np.asarray(np.add.reduceat(local[:, 0] * after[:, 1] - after[:, 0] * local[:, 1], start) > 0.0)


def closed(size: Int, reverse: Bool) -> tuple[Int, Int]:
    """Indices of the vertices of every ring with the first one again at its end, and the ring lengths then.

    Rings under `reverse`, bool, (R,), run backwards from the same first vertex.
    """
    length = size + 1
    step = slices(np.zeros_like(length), length)
    way = np.where(reverse, -1, 1)
    return np.repeat(np.cumsum(size) - size, length) + np.repeat(way, length) * step % np.repeat(size, length), length


def _fixed(values: Float, decimals: int) -> Bytes:
    """Numbers with `decimals` digits after the point, aligned at it: uint8, (V, L), spaces before them."""
    scaled = np.rint(np.abs(values) * 10.0**decimals).astype(np.int64)
    whole, part = np.divmod(scaled, 10**decimals)
    digits = len(str(int(whole.max(initial=0))))
    text = np.full((len(values), 1 + digits + (1 + decimals if decimals else 0)), ord(" "), np.uint8)
    if decimals:
        text[:, 1 + digits] = ord(".")
    for column in range(text.shape[1] - 1, 1 + digits, -1):
        part, digit = np.divmod(part, 10)
        text[:, column] = digit + ord("0")
    sign = np.full(len(values), digits)
    for column in range(digits, 0, -1):
        shown = whole > 0 if column < digits else np.True_
        sign -= shown
        whole, digit = np.divmod(whole, 10)
        text[:, column] = np.where(shown, digit + ord("0"), ord(" "))
    below = np.flatnonzero((values < 0.0) & (scaled > 0))
    text[below, sign[below]] = ord("-")
    return text
