"""The values of a raster, learnt without reading all of it: where to look, and the stretch that follows."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.sources.bandreader import BandReader
from calanddet.runtime.sources.validity import Validity
from calanddet.runtime.stretch import Stretch
from calanddet.runtime.types import Window

__all__ = ["PER_AXIS", "UNSEEN", "find_stretch", "sample_values", "sample_windows"]

UNSEEN = Stretch(0.0, 255.0)
"""What stands in for the stretch of a raster in which no valid value was met."""

PER_AXIS = 16
"""Windows along each side that are looked at for one stretch."""
_SIDE = 64
_ENOUGH = 1000
_COARSE = 1024


def sample_windows(shape: tuple[int, int], block: tuple[int, int], per_axis: int = PER_AXIS) -> list[Window]:
    """At most `per_axis` squared windows of at most 64 x 64 pixels, evenly over a raster of `shape` (rows, cols); never
    random.

    A raster of up to 64 * `per_axis` pixels a side is covered whole and once. Windows of larger ones begin with their
    storage `block` (rows, cols) where it holds them, so that each costs one block.
    """
    return [
        Window(row, col, min(_SIDE, shape[0] - row), min(_SIDE, shape[1] - col))
        for row in _starts(shape[0], block[0], per_axis)
        for col in _starts(shape[1], block[1], per_axis)
    ]


def find_stretch(values: Iterable[NDArray[Any]]) -> Stretch:
    """The stretch of a whole dataset, from `sample_values` of it; UNSEEN where no valid value was met."""
    found = list(values)
    return Stretch.from_sample(found) if _count(found) else UNSEEN


def sample_values(reader: BandReader, validity: Validity, per_axis: int = PER_AXIS) -> list[NDArray[Any]]:
    """Valid values of a raster, 1-D arrays of its dtype, from `sample_windows`.

    A raster so sparse that the windows hold fewer than 1000 values is looked at once more, whole but coarsely.
    Overviews do not matter to the windows, so adding them to a file does not change its stretch.
    """
    windows = sample_windows(reader.shape, reader.block, per_axis)
    values = [band for window in windows for band in _measured(reader, validity, window)]
    rows, cols = reader.shape
    if _count(values) < _ENOUGH and max(rows, cols) > _SIDE * per_axis:
        scale = min(1.0, _COARSE / max(rows, cols))
        coarse = max(1, round(rows * scale)), max(1, round(cols * scale))
        values += _measured(reader, validity, Window(0, 0, rows, cols), coarse)
    return values


def _measured(
    reader: BandReader, validity: Validity, window: Window, shape: tuple[int, int] | None = None
) -> list[NDArray[Any]]:
    planes, stored = reader.load(window, shape)
    return validity.measured(planes, validity.of_pixels(planes, stored))


def _count(values: Iterable[NDArray[Any]]) -> int:
    return sum(band.size for band in values)


def _starts(size: int, block: int, per_axis: int) -> list[int]:
    if size <= _SIDE * per_axis:
        return list(range(0, size, _SIDE))
    even = [int(start) for start in np.linspace(0, size - _SIDE, per_axis)]
    return even if block < _SIDE else sorted({start // block * block for start in even})
