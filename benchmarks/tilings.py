"""Maps of one image by many ways to tile it and blend: each grid is inferred once, whatever is made of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.blend import UNIT, BlendRule, Hann, rule_by_name
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import OptionError
from calanddet.runtime.mosaic.mosaic import Mosaic
from calanddet.runtime.tiling import Axis, TileGrid
from calanddet.runtime.types import Bytes

__all__ = [
    "AUTHORS_WAY",
    "EvenReference",
    "Maps",
    "PlacedAxis",
    "Reference",
    "Tiling",
    "Way",
    "borders",
    "seam_sums",
    "steepest",
]

PERIOD = 32
"""Pixels of a token of the network's coarsest stage: its maps have a grain of this period."""


@dataclass(frozen=True, slots=True)
class PlacedAxis(Axis):
    """An axis whose tiles lie where `places` says; `overlap` is not looked at.

    Raises OptionError where they leave a pixel of `length` uncovered, or reach beyond it with more than one tile.
    """

    places: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        ends = [0, *(place + self.tile for place in self.places)]
        gaps = any(place > end for place, end in zip((*self.places, self.length), ends, strict=True))
        if gaps or self.places[0] != 0 or (len(self.places) > 1 and ends[-1] != self.length):
            raise OptionError(f"tiles of {self.tile} at {self.places} do not cover an axis of {self.length} pixels")

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.places)

    def origin(self, index: int) -> int:
        """First pixel of tile `index`."""
        return self.places[index]


def _placed(length: int, tile: int, start: int, stride: int) -> PlacedAxis:
    """A tile at 0, then one every `stride` pixels from `start` on, and the last one at the end."""
    last = max(length - tile, 0)
    return PlacedAxis(length, tile, 0, (*sorted({0, *range(start, last, stride), last}),))


def _nudged(axis: Axis, by: int) -> Axis:
    origins = axis.origins
    if not by or len(origins) < 3:
        return axis
    return PlacedAxis(axis.length, axis.tile, 0, (origins[0], *(place + by for place in origins[1:-1]), origins[-1]))


@dataclass(frozen=True, slots=True)
class Way:
    """A rule at an overlap, in pixels, on the grid of `run`; with `shift` or `nudge`, its tiles lie so much further on.

    A shifted grid has one more tile an axis, so that its rim is covered. Nudged are the inner tiles alone, by at most
    the overlap: there are as many as before.
    """

    blend: str
    overlap: int
    shift: int = 0
    nudge: int = 0

    @property
    def rule(self) -> BlendRule:
        """The blending rule."""
        return rule_by_name(self.blend)

    def grid(self, shape: tuple[int, int], tile: int) -> TileGrid:
        """Its grid over (rows, cols) pixels."""
        rows, cols = (self._axis(length, tile) for length in shape)
        return TileGrid(rows, cols)

    def _axis(self, length: int, tile: int) -> Axis:
        if self.shift:
            return _placed(length, tile, self.shift, tile - self.overlap)
        return _nudged(Axis(length, tile, self.overlap), self.nudge)

    def __str__(self) -> str:
        by = self.shift or self.nudge
        moved = f", {by} px further on" if by else ""
        return f"{self.blend}, {self.overlap} px{moved}"


AUTHORS_WAY = Way("crop", 112)
"""What the authors' tool does: tiles share half, of each its centre."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Three quarters of a tile and a little more are shared, and tiles lie where no other way has one.

    Its stride is odd, so that tiles begin at every phase of the network's grain: what a network says of a pixel depends
    on it, and a reference of one phase would be kinder to ways of that phase. Hann weights, which favour the middle.
    """

    @property
    def rule(self) -> BlendRule:
        """The blending rule."""
        return Hann()

    def grid(self, shape: tuple[int, int], tile: int) -> TileGrid:
        """Its grid over (rows, cols) pixels."""
        stride = max(tile // 4 - 3, 1) | 1
        rows, cols = (_placed(length, tile, max(stride // 2, 1), stride) for length in shape)
        return TileGrid(rows, cols)


@dataclass(frozen=True, slots=True)
class EvenReference:
    """Three quarters of a tile are shared on the grid of `run`, which has all tiles of many a coarser grid."""

    @property
    def rule(self) -> BlendRule:
        """The blending rule."""
        return Hann()

    def grid(self, shape: tuple[int, int], tile: int) -> TileGrid:
        """Its grid over (rows, cols) pixels."""
        return TileGrid.cover(shape, tile, tile * 3 // 4)


Tiling: TypeAlias = Way | Reference | EvenReference


class Maps:
    """What a network makes of one image, uint8 (H, W, 3), tiled and blended in any way; grids are inferred once."""

    def __init__(self, engine: Engine, image: Bytes) -> None:
        self._engine, self.image = engine, image
        tile, (rows, cols) = engine.spec.tile, image.shape[:2]
        self._padded = np.zeros((max(rows, tile), max(cols, tile), 3), np.uint8)
        self._padded[:rows, :cols] = image
        self._tiles: dict[tuple[tuple[int, ...], ...], Bytes] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.image.shape[0], self.image.shape[1]

    def map(self, way: Tiling) -> Bytes:
        """Probability, uint8, (H, W). Raises EngineError where the engine fails."""
        grid = way.grid(self.shape, self._engine.spec.tile)
        places = grid.rows.origins, grid.cols.origins
        if places not in self._tiles:
            self._tiles[places] = self._inferred(grid)
        return _blended(grid, way.rule, self._tiles[places])

    def count(self, way: Tiling) -> int:
        """Its tiles."""
        return len(way.grid(self.shape, self._engine.spec.tile))

    def _inferred(self, grid: TileGrid) -> Bytes:
        size, side = self._engine.batch, self._engine.spec.tile
        windows, found = list(grid), np.empty((len(grid), side, side), np.uint8)
        for first in range(0, len(windows), size):
            some = windows[first : first + size]
            batch = np.zeros((size, side, side, 3), np.uint8)
            for slot, at in enumerate(some):
                batch[slot] = self._padded[at.row : at.stop_row, at.col : at.stop_col]
            found[first : first + len(some)] = self._engine.submit(batch).result().probability[: len(some)]
        return found


def _blended(grid: TileGrid, rule: BlendRule, tiles: Bytes) -> Bytes:
    whole = np.empty((grid.rows.length, grid.cols.length), np.uint8)

    def keep(row: int, band: Bytes) -> None:
        whole[row : row + len(band)] = band

    mosaic, cols = Mosaic(grid, rule, keep), grid.cols.count
    for number in range(grid.rows.count):
        for col in range(cols):
            mosaic.add(col, tiles[number * cols + col])
        height = grid.rows.final_until(number) - grid.rows.origin(number)
        mosaic.finish_row(np.ones((height, grid.cols.length), np.bool_))
    return whole


def borders(axis: Axis, rule: BlendRule) -> tuple[int, ...]:
    """Pixels of an axis at which the share of a tile begins or has ended; not the ends of the axis."""
    found: set[int] = set()
    for origin, weights in zip(axis.origins, rule.weights(axis), strict=True):
        used = np.flatnonzero(weights)
        if used.size:
            found |= {origin + int(used[0]), origin + int(used[-1]) + 1}
    return tuple(sorted(place for place in found if 0 < place < axis.length))


def steepest(axis: Axis, rule: BlendRule) -> float:
    """The largest change of a tile's share from one pixel to the next, 0 to 1: all of a tile's difference from its
    neighbour shows at once where it is 1."""
    span, most = max(axis.length, axis.tile), 0
    for origin, weights in zip(axis.origins, rule.weights(axis), strict=True):
        share: NDArray[np.int64] = np.zeros(span, np.int64)
        share[origin : origin + axis.tile] = weights
        most = max(most, int(np.abs(np.diff(share[: axis.length])).max(initial=0)))
    return most / UNIT


def _differences(probability: Bytes, axis: int) -> NDArray[np.float64]:
    """Mean difference between neighbouring lines, by the place of the second one; 0 at 0."""
    steps = np.abs(np.diff(probability.astype(np.int16), axis=axis)).mean(axis=1 - axis)
    return np.concatenate([[0.0], steps])


def seam_sums(probability: Bytes, places: Iterable[Iterable[int]]) -> tuple[float, float]:
    """Sums of the mean differences across borders and across their like, in levels.

    places: borders of the rows and of the columns. The like of a border lies PERIOD pixels before and after it, where
    the network's own grain is the same, and is no border. A border without its like is not counted.
    """
    across = beside = 0.0
    for axis, each in enumerate(places):
        steps, lines = _differences(probability, axis), set(each)
        for line in lines:
            alike = [near for near in (line - PERIOD, line + PERIOD) if 0 < near < len(steps) and near not in lines]
            if alike:
                across += float(steps[line])
                beside += float(np.mean(steps[alike]))
    return across, beside
