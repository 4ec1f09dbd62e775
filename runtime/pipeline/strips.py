"""A rolling window over a raster's rows, read in panels that end on block borders, so that a block is decoded once."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.sources.decoding import ROWS_AT_ONCE
from calanddet.runtime.sources.protocol import InPanels, Source
from calanddet.runtime.types import Bool, Bytes, Pixels, Window

__all__ = ["StripRows", "Strips"]

LEAST_ROWS = 128
"""Strips are not read thinner than this where blocks are: a call to the reader has its price."""


@dataclass(frozen=True, slots=True)
class StripRows:
    """Where strips begin and end in a raster whose storage blocks have `block` rows; no strip lies in two high blocks.

    >>> rows = StripRows(1200)
    >>> [rows.after(row) for row in (0, 400, 800, 1200)]
    [400, 800, 1200, 1600]
    """

    block: int

    @property
    def unit(self) -> int:
        """Rows after which borders repeat: whole blocks."""
        return self.block if self.block >= LEAST_ROWS else -(-LEAST_ROWS // self.block) * self.block

    @property
    def most(self) -> int:
        """Rows of the highest strip."""
        return -(-self.unit // -(-self.unit // ROWS_AT_ONCE))

    def after(self, row: int) -> int:
        """The first border below row `row`."""
        base = row // self.unit * self.unit
        return min(base + ((row - base) // self.most + 1) * self.most, base + self.unit)

    def at_or_above(self, row: int) -> int:
        """The last border at row `row` or above."""
        base = row // self.unit * self.unit
        return base + (row - base) // self.most * self.most


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Part of a panel that is wanted: where it goes, `place`, and what goes there."""

    place: tuple[slice, slice]
    pixels: Pixels


@dataclass(frozen=True, slots=True, eq=False)
class _Strip:
    """Rows `start` to `stop`, in panels of `cols` columns from the left; None for one without a valid pixel."""

    start: int
    stop: int
    cols: int
    panels: tuple[Pixels | None, ...]

    def pieces(self, window: Window) -> Iterator[_Piece]:
        """The parts of `window` that lie in panels with something valid."""
        top, bottom = max(window.row, self.start), min(window.stop_row, self.stop)
        if top >= bottom:
            return
        for index in range(window.col // self.cols, min(-(-window.stop_col // self.cols), len(self.panels))):
            panel, origin = self.panels[index], index * self.cols
            if panel is None:
                continue
            left, right = max(window.col, origin), min(window.stop_col, origin + panel.valid.shape[1])
            if left >= right:  # a tile may reach beyond a raster that is narrower
                continue
            here = np.s_[top - self.start : bottom - self.start, left - origin : right - origin]
            place = np.s_[top - window.row : bottom - window.row, left - window.col : right - window.col]
            yield _Piece(place, Pixels(panel.rgb[here], panel.valid[here]))


class Strips:
    """Rows of a source, read from top to bottom in strips; panels without a valid pixel take no memory and no work.

    The first strip holds row `begin`, and its upper end is where one of a stream from the top has it.
    """

    def __init__(self, source: Source, stages: Stages, begin: int = 0) -> None:
        self._source, self._stages = source, stages
        self._height, self._width = source.info.shape
        self._rows = StripRows(source.info.block[0])
        panel_cols = source.panel_cols if isinstance(source, InPanels) else 0
        self._panel_cols = min(panel_cols or self._width, self._width)
        self._strips: deque[_Strip] = deque()
        self._stop = min(self._rows.at_or_above(begin), self._height)

    def keep(self, start: int, stop: int) -> None:
        """Have the rows from `start` to `stop` at hand and let go of those above; neither ever decreases.

        Raises InputError when the source cannot be read there.
        """
        while self._strips and self._strips[0].stop <= start:
            self._strips.popleft()
        while self._stop < min(stop, self._height):
            below = min(self._rows.after(self._stop), self._height)
            self._strips.append(self._read(self._stop, below))
            self._stop = below

    def valid(self, start: int, stop: int) -> Bool | None:
        """Which pixels of some rows at hand are valid, bool, (h, W), in an array of its own; None where none is."""
        valid: Bool | None = None
        for piece in self._pieces(Window(start, 0, stop - start, self._width)):
            if valid is None:
                valid = np.zeros((stop - start, self._width), np.bool_)
            valid[piece.place] = piece.pixels.valid
        return valid

    def filled_cols(self, start: int, stop: int) -> Bool:
        """Which columns of some rows at hand hold a valid pixel: bool, (W,)."""
        filled = np.zeros(self._width, np.bool_)
        for piece in self._pieces(Window(start, 0, stop - start, self._width)):
            filled[piece.place[1]] |= piece.pixels.valid.any(axis=0)
        return filled

    def copy(self, window: Window, out: Bytes) -> None:
        """Fill `out`, uint8, (h, w, 3), with the colours of a window of rows at hand; black outside the raster."""
        pieces = list(self._pieces(window))
        if sum(piece.pixels.valid.size for piece in pieces) < window.height * window.width:
            out.fill(0)
        for piece in pieces:
            out[piece.place] = piece.pixels.rgb

    def _pieces(self, window: Window) -> Iterator[_Piece]:
        return (piece for strip in self._strips for piece in strip.pieces(window))

    def _read(self, start: int, stop: int) -> _Strip:
        panels: list[Pixels | None] = []
        for col in range(0, self._width, self._panel_cols):
            window = Window(start, col, stop - start, min(self._panel_cols, self._width - col))
            with self._stages.timed("read"):
                pixels = self._source.read(window)
            panels.append(pixels if pixels.context or pixels.valid.any() else None)
        return _Strip(start, stop, self._panel_cols, tuple(panels))
