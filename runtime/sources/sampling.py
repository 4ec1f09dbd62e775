"""The values of a raster, learnt without reading all of it: where to look, and the stretch that follows."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.sources.bandreader import BandReader
from calanddet.runtime.sources.validity import Validity
from calanddet.runtime.stretch import Stretch
from calanddet.runtime.types import Window

__all__ = ["UNSEEN", "find_stretch", "sample_windows"]

UNSEEN = Stretch(0.0, 255.0)
"""What stands in for the stretch of a raster in which no valid value was met."""

_SIDE = 64
_PER_AXIS = 16
_ENOUGH = 1000
_COARSE = 1024


def sample_windows(shape: tuple[int, int], block: tuple[int, int]) -> list[Window]:
    """At most 16 x 16 windows of at most 64 x 64 pixels, evenly over a raster of `shape` (rows, cols); never random.

    A raster of up to 1024 pixels a side is covered whole and once. Windows of larger ones begin with their storage
    `block` (rows, cols) where it holds them, so that each costs one block.
    """
    return [
        Window(row, col, min(_SIDE, shape[0] - row), min(_SIDE, shape[1] - col))
        for row in _starts(shape[0], block[0])
        for col in _starts(shape[1], block[1])
    ]


def find_stretch(reader: BandReader, validity: Validity) -> Stretch:
    """The stretch of a whole raster, from `sample_windows`; UNSEEN where no valid value was met.

    A raster so sparse that the windows hold fewer than 1000 values is looked at once more, whole but coarsely.
    Overviews do not matter to the windows, so adding them to a file does not change its stretch.
    """
    values = [
        band for window in sample_windows(reader.shape, reader.block) for band in _measured(reader, validity, window)
    ]
    rows, cols = reader.shape
    if _count(values) < _ENOUGH and max(rows, cols) > _SIDE * _PER_AXIS:
        scale = min(1.0, _COARSE / max(rows, cols))
        coarse = max(1, round(rows * scale)), max(1, round(cols * scale))
        values += _measured(reader, validity, Window(0, 0, rows, cols), coarse)
    return Stretch.from_sample(values) if _count(values) else UNSEEN


def _measured(
    reader: BandReader, validity: Validity, window: Window, shape: tuple[int, int] | None = None
) -> list[NDArray[Any]]:
    planes, stored = reader.load(window, shape)
    return validity.measured(planes, validity.of_pixels(planes, stored))


def _count(values: Iterable[NDArray[Any]]) -> int:
    return sum(band.size for band in values)


def _starts(size: int, block: int) -> list[int]:
    if size <= _SIDE * _PER_AXIS:
        return list(range(0, size, _SIDE))
    even = [int(start) for start in np.linspace(0, size - _SIDE, _PER_AXIS)]
    return even if block < _SIDE else sorted({start // block * block for start in even})
