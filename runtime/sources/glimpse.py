"""The small picture of a source, put together while its rows pass by, so that nothing is decoded for it again."""

import numpy as np

from calanddet.runtime.sources.protocol import InPanels, Source
from calanddet.runtime.sources.wrapped import WrappedSource
from calanddet.runtime.types import Pixels, Window

__all__ = ["GlimpsedSource", "glimpsed"]

_STRIP = 256
"""Rows, at least, that are read at a time where none have passed by."""


class GlimpsedSource(WrappedSource):
    """Gives `thumbnail(longest)` of windows that were read before; it reads what was not.

    A pixel is the mean of four read ones, as in `RasterSource.thumbnail`, and valid where two of them are. Sums do not
    depend on the order of windows, so a run that went on has the picture of one that was not stopped.
    """

    def __init__(self, source: Source, longest: int) -> None:
        super().__init__(source)
        rows, cols = source.info.shape
        scale = min(1.0, longest / max(rows, cols))
        height, width = max(1, round(rows * scale)), max(1, round(cols * scale))
        self._longest, self._fold = longest, 2 if rows >= 2 * height and cols >= 2 * width else 1
        self._rows = _spread(rows, height * self._fold)
        self._cols = _spread(cols, width * self._fold)
        self._seen = np.zeros((len(self._rows), len(self._cols)), np.bool_)
        self._total = np.zeros((height, width, 3), np.uint16)
        self._count = np.zeros((height, width), np.uint8)

    @property
    def panel_cols(self) -> int:
        """See InPanels."""
        return self._source.panel_cols if isinstance(self._source, InPanels) else 0

    def read(self, window: Window) -> Pixels:
        """See Source.read."""
        pixels = self._source.read(window)
        self._look(pixels, window)
        return pixels

    def thumbnail(self, longest: int) -> Pixels:
        """See Source.thumbnail."""
        if longest != self._longest:
            return self._source.thumbnail(longest)
        rows, cols = self.info.shape
        step = -(-_STRIP // self.info.block[0]) * self.info.block[0]
        for strip in np.unique(self._rows[~self._seen.all(axis=1)] // step):
            start = int(strip) * step
            self.read(Window(start, 0, min(step, rows - start), cols))
        valid = 2 * self._count >= self._fold**2
        mean = (self._total + self._count[..., None] // 2) // np.maximum(self._count, 1)[..., None]
        return Pixels((mean * valid[..., None]).astype(np.uint8), valid)

    def _look(self, pixels: Pixels, window: Window) -> None:
        """Add what the window holds of the pixels that make the picture, each once."""
        first, stop = np.searchsorted(self._cols, (window.col, window.stop_col))
        top, bottom = np.searchsorted(self._rows, (window.row, window.stop_row))
        if not pixels.valid.any():  # most windows of a sparse mosaic
            self._seen[top:bottom, first:stop] = True
            return
        cols = self._cols[first:stop] - window.col
        for index in range(top, bottom):
            at = self._rows[index] - window.row
            new = pixels.valid[at, cols] & ~self._seen[index, first:stop]
            self._seen[index, first:stop] = True
            rgb, row = pixels.rgb[at, cols] * new[:, None], index // self._fold
            for side in range(self._fold):  # columns of one side of their pixels: no pixel twice
                begin = first + (side - first) % self._fold
                places = slice(begin // self._fold, (stop - side + self._fold - 1) // self._fold)
                self._total[row, places] += rgb[begin - first :: self._fold]
                self._count[row, places] += new[begin - first :: self._fold]


def glimpsed(source: Source, longest: int) -> Source:
    """`source`, with its small picture taken in passing where it has none stored."""
    return source if source.info.reduced else GlimpsedSource(source, longest)


def _spread(length: int, count: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """`count` pixels in the middles of as many equal parts of `length`."""
    return (2 * np.arange(count, dtype=np.int64) + 1) * length // (2 * count)
