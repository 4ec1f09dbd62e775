"""A source that keeps what it had to decode below a window for the next window."""

import numpy as np

from calanddet.runtime.sources.protocol import Source, SourceInfo
from calanddet.runtime.sources.wrapped import WrappedSource, clipped, nothing
from calanddet.runtime.types import Pixels, Window

__all__ = ["CarryingSource", "carried_bytes"]

MOST_ROWS = 1024
"""Blocks higher than this are not kept: GDAL decodes them whole and has a cache of its own."""


WINDOW_ROWS = 512
"""Rows of the windows, at most, by which what is kept is estimated."""


def carried_bytes(info: SourceInfo) -> int:
    """What a CarryingSource keeps of a source in windows of all columns: three colours and whether they are valid."""
    rows = info.block[0] if info.block[0] <= MOST_ROWS else 0
    return 4 * info.shape[1] * min(rows + WINDOW_ROWS, info.shape[0])


class CarryingSource(WrappedSource):
    """Reads whole rows of storage blocks, so that windows that come one below the other decode each block once.

    Where they begin and end does not matter, so this serves windows that follow another raster's grid. Memory is the
    last window and one row of blocks of its columns. Windows in any other order are right as well, but save nothing.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        rows = source.info.block[0]
        self._step = rows if rows <= MOST_ROWS else 1
        self._at: Window | None = None
        self._kept = nothing(1, 1)

    def read(self, window: Window) -> Pixels:
        """See Source.read."""
        pixels = nothing(window.height, window.width)
        inside = clipped(window, self.info.shape)
        if inside is not None:
            rows = self._rows(inside)
            top, left = inside.row - window.row, inside.col - window.col
            here = np.s_[top : top + inside.height, left : left + inside.width]
            pixels.rgb[here], pixels.valid[here] = rows.rgb, rows.valid
        return pixels

    @property
    def panel_cols(self) -> int:
        """See InPanels: whole rows, since one window is kept."""
        return self.info.shape[1]

    def close(self) -> None:
        """See Source.close; nothing is kept."""
        self._at, self._kept = None, nothing(1, 1)
        super().close()

    def _rows(self, inside: Window) -> Pixels:
        """The pixels of `inside`, as views; from its first row to the end of a row of blocks they are kept."""
        kept = self._of_kept(inside)
        if kept is not None and len(kept.valid) >= inside.height:
            return Pixels(kept.rgb[: inside.height], kept.valid[: inside.height])
        start = inside.row + (0 if kept is None else len(kept.valid))
        stop = min(-(-inside.stop_row // self._step) * self._step, self.info.shape[0])
        below = self._source.read(Window(start, inside.col, stop - start, inside.width))
        if kept is not None:
            below = Pixels(np.concatenate([kept.rgb, below.rgb]), np.concatenate([kept.valid, below.valid]))
        self._at, self._kept = Window(inside.row, inside.col, stop - inside.row, inside.width), below
        return Pixels(below.rgb[: inside.height], below.valid[: inside.height])

    def _of_kept(self, inside: Window) -> Pixels | None:
        """All kept rows from the first of `inside` on, in its columns; None where they were not kept."""
        at = self._at
        if at is None or not (at.row <= inside.row < at.stop_row):
            return None
        if not (at.col <= inside.col and inside.stop_col <= at.stop_col):
            return None
        here = np.s_[inside.row - at.row :, inside.col - at.col : inside.stop_col - at.col]
        return Pixels(self._kept.rgb[here], self._kept.valid[here])
