"""Where the tiles of the first look lie, and which tiles of the map each of them decides on."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.tiling import Axis, TileGrid
from calanddet.runtime.types import Bool, Bytes, Window

__all__ = ["DECIMATION", "ScoutGrid", "decimated"]

Int = NDArray[np.int64]

DECIMATION = 2
"""Pixels along a side that become one for the first look."""


def decimated(rgb: Bytes) -> Bytes:
    """Means of 2 x 2 pixels, halves rounded up: uint8, (H / 2, W / 2, 3), of an image with even sides."""
    height, width = rgb.shape[0] // DECIMATION, rgb.shape[1] // DECIMATION
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class ScoutGrid:
    """The tiles of the first look, `looks`, over a map's `tiles`, both in pixels of the raster.

    A look covers DECIMATION tile sides a side; looks lie side by side, and share what is left over. A tile of the map
    is worth its inference where any look that it shares a pixel with is promising. So within such a look every pixel
    gets all its tiles, and the very bytes that it has in a map without triage.
    """

    tiles: TileGrid
    looks: TileGrid
    _deciding: tuple[Int, Int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ranges = [_sharing(self.looks.cols, origin, self.tiles.cols.tile) for origin in self.tiles.cols.origins]
        first, stop = ([each.start for each in ranges], [each.stop for each in ranges])
        object.__setattr__(self, "_deciding", (np.array(first, np.int64), np.array(stop, np.int64)))

    @classmethod
    def over(cls, tiles: TileGrid) -> "ScoutGrid":
        """The looks over a map's tiles."""
        return cls(tiles, TileGrid.cover((tiles.rows.length, tiles.cols.length), DECIMATION * tiles.rows.tile, 0))

    def look_rows(self, tile_row: int) -> range:
        """Rows of looks that decide on a row of tiles."""
        return _sharing(self.looks.rows, self.tiles.rows.origin(tile_row), self.tiles.rows.tile)

    def window(self, look_row: int, look_col: int) -> Window:
        """The pixels of the raster that a look covers; it may reach beyond the raster."""
        side = self.looks.rows.tile
        return Window(self.looks.rows.origin(look_row), self.looks.cols.origin(look_col), side, side)

    def worth(self, promising: Bool) -> Bool:
        """Which tiles of a row are worth it: bool, (tile columns,).

        promising: bool, (n, look columns), of the rows of looks that decide on it.
        """
        seen = np.concatenate([[0], np.cumsum(promising.any(axis=0))])
        first, stop = self._deciding
        worth: Bool = seen[stop] > seen[first]
        return worth

    def highest(self, presence: NDArray[np.float32]) -> NDArray[np.float32]:
        """The highest presence that any look tells of each tile: float32, (tile rows, tile columns).

        presence: float32, (look rows, look columns), -inf where nothing was looked at.
        """
        first, stop = self._deciding
        across = np.stack([presence[:, begin:end].max(axis=1) for begin, end in zip(first, stop, strict=True)], axis=1)
        rows = [self.look_rows(row) for row in range(self.tiles.rows.count)]
        return np.stack([across[each.start : each.stop].max(axis=0) for each in rows])


def _sharing(looks: Axis, origin: int, tile: int) -> range:
    """Indices of the looks that share a pixel of the raster with a tile at `origin`."""
    first = bisect_right(range(looks.count), origin, key=lambda index: looks.origin(index) + looks.tile)
    stop = bisect_left(range(looks.count), min(origin + tile, looks.length), key=looks.origin)
    return range(first, stop)
