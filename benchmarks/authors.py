"""A loop that does what the authors' large-image tool does, with its arithmetic right: the way that `run` replaces.

Patches of 2,688 pixels, in each tiles of 224 that share half, of each tile the centre; one stage after the other:
read, cut, infer batch by batch, paste, threshold, write. Where the original computes twice (its last patches are
moved back, whole) or leaves a border unwritten, this one does not: it is as fast and as right as that way can be.
"""

import warnings
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from calanddet.benchmarks.imagery import Imagery
from calanddet.runtime.blend import UNIT, CentreCrop
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.spec import threshold_byte
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes, Window

__all__ = ["PATCH", "map_like_the_authors", "patches", "predicted"]

PATCH = 2688


def map_like_the_authors(imagery: Imagery, engine: Engine, out: Path, *, patch: int = PATCH) -> int:
    """Read the JPEG GeoTIFF, write its mask (1 landslide, 0 none) to `out`; gives the tiles that were inferred.

    Every tile is inferred, also those without a valid pixel. Raises EngineError where the engine fails, InputError
    where the image cannot be read.
    """
    rows, cols = imagery.shape
    overlap = engine.spec.tile // 2
    mask = np.zeros((rows, cols), np.uint8)
    least, tiles = threshold_byte(engine.spec.threshold), 0
    with closing(imagery.open("jpeg")) as source:
        for window, own in patches((rows, cols), patch, overlap):
            probability, count = predicted(source.read(window).rgb, engine)
            inside = probability[
                own.row - window.row : own.stop_row - window.row, own.col - window.col : own.stop_col - window.col
            ]
            mask[own.row : own.stop_row, own.col : own.stop_col] = inside >= least
            tiles += count
    _write(mask, imagery, out)
    return tiles


def _write(mask: Bytes, imagery: Imagery, out: Path) -> None:
    place: dict[str, Any] = {}
    if imagery.georeference.crs is not None:
        place = {"crs": imagery.georeference.crs, "transform": imagery.georeference.transform}
    rows, cols = mask.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(out, "w", driver="GTiff", height=rows, width=cols, count=1, dtype="uint8", **place) as file:
            file.write(mask, 1)


def patches(shape: tuple[int, int], patch: int, overlap: int) -> Iterator[tuple[Window, Window]]:
    """(what is read, what is kept of it): the latter cover (rows, cols) once; neighbours share at least `overlap`."""
    for row, height, top, bottom in _spans(shape[0], patch, overlap):
        for col, width, left, right in _spans(shape[1], patch, overlap):
            yield Window(row, col, height, width), Window(top, left, bottom - top, right - left)


def _spans(length: int, patch: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Along an axis: start and length of each patch, first and last pixel (exclusive) of what it keeps."""
    starts = [0]
    while starts[-1] + patch < length:
        starts.append(starts[-1] + patch - overlap)
    if len(starts) > 1:  # what is left may be less than a tile, of which nobody would keep the centre
        starts[-1] = min(starts[-1], length - 2 * overlap)
    stops = [min(start + patch, length) for start in starts]
    edges = [0, *((stop + start) // 2 for stop, start in zip(stops, starts[1:], strict=False)), length]
    return [
        (start, stop - start, first, last)
        for start, stop, (first, last) in zip(starts, stops, pairwise(edges), strict=True)
    ]


def predicted(rgb: Bytes, engine: Engine) -> tuple[Bytes, int]:
    """Probability bytes of a patch, uint8, (H, W), from uint8 (H, W, 3), and the number of its tiles."""
    tile, size = engine.spec.tile, engine.batch
    height, width = rgb.shape[:2]
    grid = TileGrid.cover((height, width), tile, tile // 2)
    padded = np.zeros((max(height, tile), max(width, tile), 3), np.uint8)
    padded[:height, :width] = rgb
    whole = np.zeros(padded.shape[:2], np.uint8)
    rule = CentreCrop()
    weights = [rule.weights(axis) == UNIT for axis in (grid.rows, grid.cols)]
    windows = list(grid)
    for first in range(0, len(windows), size):
        some = windows[first : first + size]
        batch = np.zeros((size, tile, tile, 3), np.uint8)
        for place, at in enumerate(some):
            batch[place] = padded[at.row : at.stop_row, at.col : at.stop_col]
        found = engine.submit(batch).result().probability
        for place, at in enumerate(some):
            row, col = divmod(first + place, grid.cols.count)
            kept = np.ix_(np.flatnonzero(weights[0][row]), np.flatnonzero(weights[1][col]))
            whole[at.row : at.stop_row, at.col : at.stop_col][kept] = found[place][kept]
    return whole[:height, :width], len(windows)
