"""Probability tiles in, finished row bands out; memory is one tile row, whatever the raster's height."""

from collections.abc import Callable

import numpy as np

from calanddet.runtime.blend import BlendRule
from calanddet.runtime.mosaic.loops import accumulate, finalise
from calanddet.runtime.spec import NODATA
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Mosaic"]


class Mosaic:
    """Blends the tiles of a grid, one tile row after another, and hands over each band of rows once it is final.

    Tiles of a row may be added in any order; the sums are integers, so the bytes do not depend on it.
    """

    def __init__(
        self, grid: TileGrid, rule: BlendRule, emit: Callable[[int, Bytes], None], *, tile_row: int = 0
    ) -> None:
        """`emit(row, band)` gets bands uint8, (h, W), 0..254 or 255 for nodata, from row 0 down without gaps.

        With a first `tile_row` other than 0 they begin at its first row, and those that an earlier tile row reaches
        lack its share.
        """
        self._rows, self._cols = grid.rows, grid.cols
        self._row_weights = rule.weights(grid.rows)
        self._col_weights = rule.weights(grid.cols)
        self._emit = emit
        self._tile_row = tile_row
        self._sums = np.zeros((min(grid.rows.tile, grid.rows.length), grid.cols.length), np.uint32)
        self._used = 0
        self._nothing: Bytes = np.empty((0, grid.cols.length), np.uint8)

    def add(self, tile_col: int, probability: Bytes) -> None:
        """Blend in the tile at column index `tile_col` of the current tile row; probability: uint8, (T, T)."""
        self._used = len(self._sums)
        accumulate(
            self._sums,
            probability,
            self._row_weights[self._tile_row],
            self._col_weights[tile_col],
            self._cols.origin(tile_col),
        )

    def finish_row(self, valid: Bool | None) -> None:
        """Hand over the rows that no later tile row touches, and move on to the next one.

        valid: bool, (h, W), for exactly those rows; what is not valid becomes 255; None where no pixel is.
        """
        start = self._rows.origin(self._tile_row)
        height = self._rows.final_until(self._tile_row) - start
        if valid is not None and valid.shape != (height, self._cols.length):
            raise ValueError(
                f"tile row {self._tile_row} finishes {height} x {self._cols.length} pixels, not {valid.shape}"
            )
        band = self._blank(height) if valid is None else np.empty(valid.shape, np.uint8)
        if valid is not None:
            finalise(self._sums, valid, band)
        self._tile_row += 1
        self._drop(height)
        self._emit(start, band)

    def _drop(self, height: int) -> None:
        """Move the sums up by `height` rows; only `_used` ones, from the top, are other than zero."""
        kept = max(self._used - height, 0)
        self._sums[:kept] = self._sums[height : height + kept]
        self._sums[kept : self._used] = 0
        self._used = kept

    def _blank(self, height: int) -> Bytes:
        """Rows of nodata; the same array each time, which nobody writes to."""
        if len(self._nothing) < height:
            self._nothing = np.full((height, self._cols.length), NODATA, np.uint8)
        return self._nothing[:height]
