"""From strips to parcels: a full batch of tiles, and what is to be done with each of its results."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.pipeline.strips import Strips
from calanddet.runtime.pipeline.track import Restart
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Cutter", "Parcel", "Place", "RowEnd"]

PATIENCE = 4
"""Tile rows without a valid pixel that a part-filled batch waits through before it is sent off as it is."""


@dataclass(frozen=True, slots=True)
class Place:
    """Result `slot` of the batch belongs at column `tile_col` of the current tile row."""

    slot: int
    tile_col: int


@dataclass(frozen=True, slots=True, eq=False)
class RowEnd:
    """The current tile row is complete; valid: bool, (h, W), of the rows that are final now."""

    valid: Bool
    skipped: int


Step: TypeAlias = Place | RowEnd


@dataclass(slots=True, eq=False)
class Parcel:
    """tiles: uint8, (batch, T, T, 3), the first `count` real, the rest black; None where there are only row ends.

    tile_row, tile_col: where in the grid it begins; no earlier tile is in it, no later one in an earlier parcel.
    """

    tile_row: int
    tile_col: int
    tiles: Bytes | None = None
    count: int = 0
    steps: list[Step] = field(default_factory=list)


class Cutter:
    """Cuts the tiles of a grid out of strips, row by row, and packs them into parcels."""

    def __init__(self, grid: TileGrid, strips: Strips, batch: int, stages: Stages) -> None:
        self._grid, self._strips, self._batch, self._stages = grid, strips, batch, stages

    def parcels(self, buffer: Callable[[], Bytes], begin: Restart = Restart()) -> Iterator[Parcel]:
        """The parcels from `begin` on in order; `buffer` gives the array of a batch, the parcel's until its result is
        taken."""
        parcel, idle_rows = Parcel(begin.tile_row, begin.tile_col), 0
        for index in range(begin.tile_row, self._grid.rows.count):
            start = self._grid.rows.origin(index)
            rows = self._strips.rows(start, start + self._grid.rows.tile)
            occupied = self._occupied(rows.valid)
            for tile_col in occupied:
                if index == begin.tile_row and tile_col < begin.tile_col:
                    continue
                if parcel.tiles is None:
                    parcel.tiles = buffer()
                self._cut(rows.rgb, tile_col, parcel)
                if parcel.count == self._batch:
                    yield parcel
                    parcel = Parcel(index, tile_col + 1)
            valid = rows.valid[: self._grid.rows.final_until(index) - start, : self._grid.cols.length].copy()
            parcel.steps.append(RowEnd(valid, self._grid.cols.count - len(occupied)))
            idle_rows = 0 if occupied else idle_rows + 1
            if parcel.tiles is None or idle_rows >= PATIENCE:
                yield _padded(parcel)
                parcel, idle_rows = Parcel(index + 1, 0), 0
        if parcel.steps:
            yield _padded(parcel)

    def _occupied(self, valid: Bool) -> list[int]:
        """Indices of the tiles that hold a valid pixel; valid: bool, (T, W), of one tile row."""
        with self._stages.timed("cut"):
            cols = self._grid.cols
            filled = np.flatnonzero(valid.any(axis=0))
            if filled.size == valid.shape[1]:
                return list(range(cols.count))
            origins = np.asarray(cols.origins)
            inside = np.searchsorted(filled, origins + cols.tile) > np.searchsorted(filled, origins)
            return [int(index) for index in np.flatnonzero(inside)]

    def _cut(self, rgb: Bytes, tile_col: int, parcel: Parcel) -> None:
        """Copy a tile into the parcel's next slot; rgb: uint8, (T, W, 3)."""
        assert parcel.tiles is not None
        with self._stages.timed("cut"):
            col = self._grid.cols.origin(tile_col)
            parcel.tiles[parcel.count] = rgb[:, col : col + self._grid.cols.tile]
        parcel.steps.append(Place(parcel.count, tile_col))
        parcel.count += 1


def _padded(parcel: Parcel) -> Parcel:
    """The same parcel with its unused slots black, so that a result never depends on an earlier batch."""
    if parcel.tiles is not None:
        parcel.tiles[parcel.count :] = 0
    return parcel
