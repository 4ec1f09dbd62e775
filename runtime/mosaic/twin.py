"""The native loops of mosaicking in NumPy: the definition, and what runs where the extension was not built."""

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.spec import NODATA
from calanddet.runtime.types import Bool, Bytes

__all__ = ["accumulate", "finalise"]


def accumulate(
    sums: NDArray[np.uint32], tile: Bytes, row_weights: NDArray[np.uint16], col_weights: NDArray[np.uint16], col: int
) -> None:
    """sums[r, col + c] += tile[r, c] * row_weights[r] * col_weights[c], in place, for what lies inside `sums`.

    sums: uint32, (R, W); tile: uint8, (T, T); weights: uint16, (T,), at most 256, so that nothing overflows.
    """
    height = min(tile.shape[0], sums.shape[0])
    width = min(tile.shape[1], sums.shape[1] - col)
    inside_rows = np.flatnonzero(row_weights[:height])
    inside_cols = np.flatnonzero(col_weights[:width])
    if not inside_rows.size or not inside_cols.size:
        return
    rows = slice(int(inside_rows[0]), int(inside_rows[-1]) + 1)
    cols = slice(int(inside_cols[0]), int(inside_cols[-1]) + 1)
    weight = np.multiply.outer(row_weights[rows], col_weights[cols], dtype=np.uint32)
    np.multiply(weight, tile[rows, cols], out=weight)
    sums[rows, col + cols.start : col + cols.stop] += weight


def finalise(sums: NDArray[np.uint32], valid: Bool, band: Bytes) -> None:
    """band = round(sums / 2**16) where valid, 255 elsewhere; sums may have more rows than the band.

    sums: uint32, (>= R, W); valid: bool, (R, W); band: uint8, (R, W), written in place.
    """
    rounded = sums[: band.shape[0]] + np.uint32(32768)
    rounded >>= np.uint32(16)
    np.copyto(band, rounded, casting="unsafe")
    band[~valid] = NODATA
