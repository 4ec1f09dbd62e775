"""From strips to parcels: a full batch of tiles, and what is to be done with each of its results."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.pipeline.strips import Strips
from calanddet.runtime.pipeline.track import Restart
from calanddet.runtime.tiling import Axis, TileGrid
from calanddet.runtime.types import Bool, Bytes, Window

__all__ = ["Buffer", "Cutter", "Parcel", "Place", "RowEnd", "Scouting", "occupied"]

PATIENCE = 4
"""Tile rows without a valid pixel that a part-filled batch waits through before it is sent off as it is."""

Buffer: TypeAlias = Callable[[], Bytes]
"""Gives the array of a batch, uint8, (batch, T, T, 3), the parcel's until its result is taken."""


@dataclass(frozen=True, slots=True)
class Place:
    """Result `slot` of the batch belongs at column `tile_col` of the current tile row."""

    slot: int
    tile_col: int


@dataclass(frozen=True, slots=True, eq=False)
class RowEnd:
    """The current tile row is complete; valid: bool, (h, W), of the rows that are final now, None where none is.

    skipped: its tiles without a valid pixel; passed: those that a first look found not to be worth inferring.
    """

    valid: Bool | None
    skipped: int
    passed: int = 0


Step: TypeAlias = Place | RowEnd


@dataclass(slots=True, eq=False)
class Parcel:
    """tiles: uint8, (batch, T, T, 3), the first `count` real, the rest black; None where there are only row ends.

    tile_row, tile_col: where in the grid it begins; no earlier tile is in it, no later one in an earlier parcel.
    look_row: where its tiles are a first look, the row of those looks; it has no steps then, and begins nowhere.
    """

    tile_row: int
    tile_col: int
    tiles: Bytes | None = None
    count: int = 0
    steps: list[Step] = field(default_factory=list)
    look_row: int | None = None

    def padded(self) -> "Parcel":
        """This parcel with its unused slots black, so that a result never depends on an earlier batch."""
        if self.tiles is not None:
            self.tiles[self.count :] = 0
        return self


class Scouting:
    """The first look at tiles, where there is none: everything is worth inferring. See scouts.py for the other kind."""

    def parcels(self, tile_row: int, buffer: Buffer) -> Iterator[Parcel]:  # noqa: ARG002  nothing to look at
        """The looks that are due before a row of tiles is cut, in full batches."""
        return iter(())

    def worth(self, tile_row: int) -> Bool | None:  # noqa: ARG002  all are
        """Which tiles of a row to infer: bool, (tile columns,); None for all. Waits for the looks' results."""
        return None


class Cutter:
    """Cuts the tiles of a grid out of strips, row by row, and packs them into parcels."""

    def __init__(self, grid: TileGrid, strips: Strips, batch: int, stages: Stages, scouting: Scouting) -> None:
        self._grid, self._strips, self._batch, self._stages = grid, strips, batch, stages
        self._scouting = scouting

    def parcels(self, buffer: Buffer, begin: Restart = Restart()) -> Iterator[Parcel]:
        """The parcels from `begin` on in order."""
        parcel, idle_rows = Parcel(begin.tile_row, begin.tile_col), 0
        for index in range(begin.tile_row, self._grid.rows.count):
            yield from self._scouting.parcels(index, buffer)
            start = self._grid.rows.origin(index)
            self._strips.keep(start, start + self._grid.rows.tile)
            filled = self._filled(start)
            tile_cols = self._worth(index, filled)
            for tile_col in tile_cols:
                if index == begin.tile_row and tile_col < begin.tile_col:
                    continue
                if parcel.tiles is None:
                    parcel.tiles = buffer()
                self._cut(start, tile_col, parcel)
                if parcel.count == self._batch:
                    yield parcel
                    parcel = Parcel(index, tile_col + 1)
            with self._stages.timed("cut"):
                valid = self._strips.valid(start, self._grid.rows.final_until(index))
            parcel.steps.append(RowEnd(valid, self._grid.cols.count - len(filled), len(filled) - len(tile_cols)))
            idle_rows = 0 if tile_cols else idle_rows + 1
            if parcel.tiles is None or idle_rows >= PATIENCE:
                yield parcel.padded()
                parcel, idle_rows = Parcel(index + 1, 0), 0
        if parcel.steps:
            yield parcel.padded()

    def _filled(self, start: int) -> list[int]:
        """Indices of the tiles of the row that begins at row `start` that hold a valid pixel."""
        with self._stages.timed("cut"):
            return occupied(self._grid.cols, self._strips.filled_cols(start, start + self._grid.rows.tile))

    def _worth(self, index: int, filled: list[int]) -> list[int]:
        """Those of the tiles `filled` that are to be inferred."""
        worth = self._scouting.worth(index)
        return filled if worth is None else [tile_col for tile_col in filled if worth[tile_col]]

    def _cut(self, start: int, tile_col: int, parcel: Parcel) -> None:
        """Copy a tile into the parcel's next slot."""
        assert parcel.tiles is not None
        with self._stages.timed("cut"):
            cols = self._grid.cols
            window = Window(start, cols.origin(tile_col), self._grid.rows.tile, cols.tile)
            self._strips.copy(window, parcel.tiles[parcel.count])
        parcel.steps.append(Place(parcel.count, tile_col))
        parcel.count += 1


def occupied(cols: Axis, filled: Bool) -> list[int]:
    """Indices of the tiles along an axis that hold a valid pixel; filled: bool, (W,), columns that hold one."""
    places = np.flatnonzero(filled)
    if places.size == filled.size:
        return list(range(cols.count))
    origins = np.asarray(cols.origins)
    inside = np.searchsorted(places, origins + cols.tile) > np.searchsorted(places, origins)
    return [int(index) for index in np.flatnonzero(inside)]
