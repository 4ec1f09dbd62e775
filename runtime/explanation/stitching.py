"""From maps of tiles to maps of the image, without seams."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from calanddet.runtime.explanation.canvas import Canvas, reduction_of
from calanddet.runtime.explanation.explainer import Explainer, Layer, TileMaps
from calanddet.runtime.explanation.tiled import Floats, Progress, TiledImage, TileRow
from calanddet.runtime.spec import SCALE

__all__ = ["PROBABILITY", "Explanation", "stitch"]

PROBABILITY = Layer("probability", "probability of landslide", signed=False)


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Maps of an image: float32, (rows, cols), each value the mean over reduction x reduction pixels, NaN for nodata.

    `maps` begins with PROBABILITY, 0..1; tiles: those inferred; with_presence: those whose presence reached one half.
    """

    maps: Mapping[Layer, Floats]
    reduction: int
    tiles: int
    with_presence: int


def stitch(image: TiledImage, explainer: Explainer, *, batch: int, progress: Progress) -> Explanation:
    """Look at all tiles and join what they show, weighted as the stream blends probabilities.

    Coarse maps are enlarged bilinearly, cell centres in the middle of their pixels. Nothing is scaled tile by tile.
    Raises InputError where the image cannot be read and EngineError where inference fails.
    """
    layers = (PROBABILITY, *explainer.layers)
    reduction = reduction_of(image.shape)
    canvas = Canvas(len(layers), image.shape, reduction)
    mosaic = _FloatMosaic(len(layers), image)
    tiles = with_presence = done = 0
    for row in image.rows():
        for cols in row.batches(batch):
            seen = explainer.look(row.tiles(cols))
            for slot, col in enumerate(cols):
                mosaic.add(row, col, _enlarged(seen, slot))
            tiles, with_presence = tiles + len(cols), with_presence + int((seen.presence >= 0.5).sum())
            progress(done + cols[-1] + 1, len(image.grid))
        done += image.grid.cols.count
        mosaic.finish_row(row, canvas)
        progress(done, len(image.grid))
    return Explanation(dict(zip(layers, canvas.means(), strict=True)), reduction, tiles, with_presence)


def _enlarged(seen: TileMaps, slot: int) -> Floats:
    """All maps of one tile at its full size: float32, (1 + layers, T, T)."""
    probability = seen.probability[slot].astype(np.float32) / np.float32(SCALE)
    height, width = probability.shape
    maps = [cv2.resize(each[slot], (width, height), interpolation=cv2.INTER_LINEAR) for each in seen.maps]
    return np.stack([probability, *maps]).astype(np.float32, copy=False)


class _FloatMosaic:
    """Weighted sums of several maps over one row of tiles, and what of the row above is not final yet."""

    def __init__(self, count: int, image: TiledImage) -> None:
        self._rows, self._cols = image.grid.rows, image.grid.cols
        self._sums = np.zeros((count, self._rows.tile, max(self._cols.length, self._cols.tile)), np.float32)

    def add(self, row: TileRow, col: int, maps: Floats) -> None:
        """Blend in the tile `col`; maps: float32, (count, T, T)."""
        left = self._cols.origin(col)
        weights = row.row_shares[:, None] * row.col_shares[col]
        self._sums[:, :, left : left + self._cols.tile] += maps * weights

    def finish_row(self, row: TileRow, canvas: Canvas) -> None:
        """Hand what no later tile touches to the canvas, and move on."""
        height = self._rows.final_until(row.index) - row.row
        inside = np.s_[:height, : self._cols.length]
        canvas.add(row.row, self._sums[:, :height, : self._cols.length], row.pixels.valid[inside])
        kept = self._rows.tile - height
        self._sums[:, :kept] = self._sums[:, height:].copy()
        self._sums[:, kept:] = 0
