"""Where tiles lie on a raster: rows and columns only, no geography."""

from collections.abc import Iterator
from dataclasses import dataclass

from calanddet.runtime.errors import OptionError
from calanddet.runtime.types import Window

__all__ = ["Axis", "TileGrid"]


@dataclass(frozen=True, slots=True)
class Axis:
    """Tiles along one axis: as few as cover `length` pixels with at least `overlap` pixels shared by neighbours.

    The tiles are spread evenly, so that the first starts at 0, the last ends at `length`, and what overlap there is
    to spare is shared by all; an axis shorter than a tile has one tile, which reaches beyond it.
    """

    length: int
    tile: int
    overlap: int

    def __post_init__(self) -> None:
        if self.length <= 0 or self.tile <= 0:
            raise OptionError(f"an axis of {self.length} pixels cannot be cut into tiles of {self.tile}")
        if not 0 <= self.overlap < self.tile:
            raise OptionError(
                f"the overlap must be 0 to {self.tile - 1} pixels for tiles of {self.tile}, not {self.overlap}"
            )

    @property
    def count(self) -> int:
        """Number of tiles."""
        stride = self.tile - self.overlap
        return max(1, -(-(self.length - self.overlap) // stride))

    def origin(self, index: int) -> int:
        """First pixel of tile `index`."""
        if self.count == 1:
            return 0
        return index * (self.length - self.tile) // (self.count - 1)

    @property
    def origins(self) -> tuple[int, ...]:
        """First pixels of all tiles, increasing."""
        return tuple(self.origin(index) for index in range(self.count))

    def final_until(self, index: int) -> int:
        """First pixel that a tile after `index` may still change; `length` after the last tile."""
        return self.length if index + 1 >= self.count else self.origin(index + 1)


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Tiles over a raster of (rows, cols) pixels, row by row from the top left."""

    rows: Axis
    cols: Axis

    @classmethod
    def cover(cls, shape: tuple[int, int], tile: int, overlap: int) -> "TileGrid":
        """Cover `shape` with square tiles of side `tile` that share at least `overlap` pixels."""
        return cls(Axis(shape[0], tile, overlap), Axis(shape[1], tile, overlap))

    def __len__(self) -> int:
        return self.rows.count * self.cols.count

    def __iter__(self) -> Iterator[Window]:
        for row in self.rows.origins:
            for col in self.cols.origins:
                yield Window(row, col, self.rows.tile, self.cols.tile)
