"""A map that grows band by band on a grid no finer than needed, so that memory does not follow the raster's area."""

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.explanation.tiled import Floats
from calanddet.runtime.types import Bool

__all__ = ["MOST_CELLS", "Canvas", "reduction_of"]

MOST_CELLS = 1 << 22
"""Values of a map, at most: an image of 2048 x 2048 keeps every pixel."""


def reduction_of(shape: tuple[int, int], most: int = MOST_CELLS) -> int:
    """Side in pixels of the squares that maps of a raster of `shape` are averaged over: the least power of 2 that does.

    >>> reduction_of((2048, 2048)), reduction_of((6144, 7680))
    (1, 4)
    """
    side = 1
    while -(-shape[0] // side) * -(-shape[1] // side) > most:
        side *= 2
    return side


class Canvas:
    """Means of several maps over squares of `reduction` x `reduction` pixels, fed with full-width bands."""

    def __init__(self, count: int, shape: tuple[int, int], reduction: int) -> None:
        """`count` maps of a raster of `shape`, (rows, cols) in pixels."""
        self._reduction = reduction
        size = -(-shape[0] // reduction), -(-shape[1] // reduction)
        self._sums = np.zeros((count, *size), np.float32)
        self._count = np.zeros(size, np.float32)

    def add(self, row: int, bands: Floats, valid: Bool) -> None:
        """bands: float32, (count, h, W), whose first pixel row is `row`; valid: bool, (h, W)."""
        cells = slice(row // self._reduction, (row + len(valid) - 1) // self._reduction + 1)
        self._sums[:, cells] += self._folded(np.where(valid, bands, np.float32(0.0)), row)
        self._count[cells] += self._folded(valid.astype(np.float32)[None], row)[0]

    def means(self) -> Floats:
        """float32, (count, rows / reduction, cols / reduction), NaN where no pixel was valid."""
        count = np.where(self._count > 0, self._count, np.float32(np.nan))
        return np.asarray(self._sums / count, np.float32)

    def _folded(self, bands: NDArray[np.float32], row: int) -> Floats:
        """Sums over the squares that pixel rows from `row` on touch."""
        if self._reduction == 1:
            return bands
        height, width = bands.shape[1:]
        first = -row % self._reduction
        rows = [0, *range(first or self._reduction, height, self._reduction)]
        cols = range(0, width, self._reduction)
        return np.add.reduceat(np.add.reduceat(bands, rows, axis=1), list(cols), axis=2)
