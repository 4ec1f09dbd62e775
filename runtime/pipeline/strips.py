"""A rolling window over a raster's rows, read in strips that end on block borders, so that a block is decoded once."""

import numpy as np

from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.types import Bool, Bytes, Pixels, Window

__all__ = ["Strips"]

LEAST_ROWS = 128
"""Strips are not read thinner than this where blocks are: a call to the reader has its price."""
MOST_ROWS = 1024
"""Nor thicker, so that one block as high as the raster does not bring all of it into memory."""


class Strips:
    """Full-width rows of a source, from top to bottom; at least `tile` columns wide and rows high, black outside.

    The first one holds row `begin`, and its upper end is where one of a stream from the top has it.
    """

    def __init__(self, source: Source, tile: int, stages: Stages, begin: int = 0) -> None:
        self._source, self._stages = source, stages
        self._height, width = source.info.shape
        self._step = _strip_rows(source.info.block[0])
        self._width = max(width, tile)
        capacity = tile + 2 * self._step
        self._rgb: Bytes = np.zeros((capacity, self._width, 3), np.uint8)
        self._valid: Bool = np.zeros((capacity, self._width), np.bool_)
        self._start = self._stop = begin // self._step * self._step

    def rows(self, start: int, stop: int) -> Pixels:
        """Rows `start` to `stop` as views that hold until the next call; `start` never decreases."""
        self._drop_above(min(start, self._stop))  # the first strip may begin above what is wanted
        while self._stop < stop:
            self._read_strip()
        here = slice(start - self._start, stop - self._start)
        return Pixels(self._rgb[here], self._valid[here])

    def _drop_above(self, start: int) -> None:
        drop = start - self._start
        if drop <= 0:
            return
        with self._stages.timed("shift"):
            kept = max(self._stop - start, 0)
            self._rgb[:kept] = self._rgb[drop : drop + kept]
            self._valid[:kept] = self._valid[drop : drop + kept]
        self._start, self._stop = start, start + kept

    def _read_strip(self) -> None:
        aligned = (self._stop // self._step + 1) * self._step
        stop = max(min(aligned, self._height), self._stop + 1)
        at = slice(self._stop - self._start, stop - self._start)
        if self._stop >= self._height:  # below the raster: a tile is higher than what is left
            self._rgb[at] = 0
            self._valid[at] = False
        else:
            with self._stages.timed("read"):
                pixels = self._source.read(Window(self._stop, 0, stop - self._stop, self._width))
            with self._stages.timed("shift"):
                self._rgb[at] = pixels.rgb
                self._valid[at] = pixels.valid
        self._stop = stop


def _strip_rows(block_rows: int) -> int:
    if block_rows >= MOST_ROWS:
        return MOST_ROWS
    return -(-LEAST_ROWS // block_rows) * block_rows
