"""An image as the stream tiles it: tile row after tile row, with the share that every tile has in every pixel."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.blend import UNIT, BlendRule, rule_by_name
from calanddet.runtime.errors import OptionError
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.tiling import Axis, TileGrid
from calanddet.runtime.types import Bool, Bytes, Pixels, Window

__all__ = ["Floats", "Progress", "TileRow", "TiledImage", "tiles_around"]

Floats: TypeAlias = NDArray[np.float32]
Progress: TypeAlias = Callable[[int, int], None]
"""Takes (tiles done, tiles in all)."""


@dataclass(frozen=True, slots=True, eq=False)
class TileRow:
    """The tiles of a grid that begin at one raster row.

    index: of the row of tiles; cols: indices of those that hold a valid pixel; pixels: the strip that they are cut
    from, at least a tile high and wide, black outside the raster; origins: first pixel column of every tile of the row.
    shares: float32, of the row's axis weights, (T,), and of all columns', (tiles, T).
    """

    index: int
    row: int
    cols: tuple[int, ...]
    pixels: Pixels
    origins: tuple[int, ...]
    row_shares: Floats
    col_shares: Floats

    def tiles(self, cols: Sequence[int]) -> Bytes:
        """uint8, (N, T, T, 3), RGB, of the tiles `cols`."""
        return np.stack([self.pixels.rgb[:, self._span(col)] for col in cols])

    def valid(self, cols: Sequence[int]) -> Bool:
        """bool, (N, T, T), of the tiles `cols`."""
        return np.stack([self.pixels.valid[:, self._span(col)] for col in cols])

    def shares(self, cols: Sequence[int]) -> Floats:
        """float32, (N, T, T): the blending weights of the tiles `cols`, 0 where not valid; 1 in all over a pixel."""
        weights = self.row_shares[:, None] * self.col_shares[list(cols), None, :]
        return np.asarray(weights * self.valid(cols), np.float32)

    def batches(self, size: int) -> Iterator[tuple[int, ...]]:
        """`cols` in groups of at most `size`."""
        return (self.cols[start : start + size] for start in range(0, len(self.cols), size))

    def _span(self, col: int) -> slice:
        return slice(self.origins[col], self.origins[col] + len(self.row_shares))


@dataclass(frozen=True, slots=True, eq=False)
class TiledImage:
    """A source under a grid of tiles and a blending rule: what the stream would map."""

    source: Source
    grid: TileGrid
    rule: BlendRule

    @classmethod
    def cover(cls, source: Source, *, tile: int, overlap: int, blend: str) -> "TiledImage":
        """Tiles as `run` lays them. Raises OptionError for an overlap or rule that there is not."""
        return cls(source, TileGrid.cover(source.info.shape, tile, overlap), rule_by_name(blend))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) in pixels."""
        return self.source.info.shape

    def rows(self) -> Iterator[TileRow]:
        """All rows of tiles from the top. Raises InputError where the source cannot be read."""
        rows, cols = self.grid.rows, self.grid.cols
        row_shares, col_shares = (np.float32(self.rule.weights(axis) / UNIT) for axis in (rows, cols))
        for index, row in enumerate(rows.origins):
            pixels = self.source.read(Window(row, 0, rows.tile, max(cols.length, cols.tile)))
            held = tuple(col for col, left in enumerate(cols.origins) if pixels.valid[:, left : left + cols.tile].any())
            yield TileRow(index, row, held, pixels, cols.origins, row_shares[index], col_shares)


def tiles_around(source: Source, pixel: tuple[int, int], *, tile: int, overlap: int) -> tuple[Source, Window]:
    """The part of an image whose tiles decide the value of `pixel`, (row, col), and where it lies in the image.

    Tiled by itself with the same overlap, it has the very tiles that cover the pixel in the whole; where three or more
    do so along an axis, as with overlaps of half a tile, those between the outermost lie a pixel off at most.
    Raises OptionError for a pixel outside the image or not valid, InputError where the source cannot be read.
    """
    height, width = source.info.shape
    row, col = pixel
    if not (0 <= row < height and 0 <= col < width):
        raise OptionError(
            f"the pixel {row},{col} is outside the image, whose last one is {height - 1},{width - 1} (row, column)"
        )
    (top, bottom), (left, right) = (
        _covering(Axis(length, tile, overlap), place) for length, place in zip((height, width), pixel, strict=True)
    )
    window = Window(top, left, bottom - top, right - left)
    pixels = source.read(window)
    if not pixels.valid[row - top, col - left]:
        raise OptionError(f"the pixel {row},{col} is nodata or masked: name one that is shown in the image")
    return ArraySource(pixels.rgb, valid=pixels.valid), window


def _covering(axis: Axis, place: int) -> tuple[int, int]:
    """First pixel and end of the tiles of `axis` that hold the pixel `place`."""
    origins = [origin for origin in axis.origins if origin <= place < origin + axis.tile]
    return origins[0], min(origins[-1] + axis.tile, axis.length)
