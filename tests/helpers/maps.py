"""Small maps of probability bytes, and what is found on them."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from shapely.geometry import Polygon

from calanddet.runtime.georef import Georeference
from calanddet.runtime.polygons import Groups, Landslides, Locator, Outlines, OutlineScan, Shaping, measure
from calanddet.runtime.types import Bytes

THRESHOLD = 127
UTM = Georeference(CRS.from_epsg(32648), Affine(0.5, 0.0, 412345.0, 0.0, -0.5, 3567890.0))


def random_map(seed: int, *, height: int = 23, width: int = 31, density: float = 0.55) -> Bytes:
    """uint8, (height, width): landslide with a chance of `density`, else none or nodata, independent pixels."""
    rng = np.random.default_rng(seed)
    landslide = rng.random((height, width)) < density
    other = rng.choice([0, 60, THRESHOLD - 1, 255], (height, width))
    return np.asarray(np.where(landslide, rng.integers(THRESHOLD, 255, (height, width)), other), np.uint8)


def blobs(seed: int, *, height: int, width: int, cell: int = 16) -> Bytes:
    """uint8, (height, width): smooth hills of probability some `cell` pixels wide, with a corner of nodata."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(height // cell + 2, width // cell + 2))
    rows, cols = np.arange(height) / cell, np.arange(width) / cell
    i, j = rows.astype(int)[:, None], cols.astype(int)[None, :]
    y, x = (rows % 1)[:, None], (cols % 1)[None, :]
    top = coarse[i, j] * (1 - x) + coarse[i, j + 1] * x
    bottom = coarse[i + 1, j] * (1 - x) + coarse[i + 1, j + 1] * x
    found = np.asarray(np.floor(254 / (1 + np.exp(-4 * (top * (1 - y) + bottom * y)))), np.uint8)
    found[: height // 5, : width // 4] = 255
    return found


def bands(found: Bytes, seed: int = 0, *, tallest: int = 9) -> Iterator[tuple[int, Bytes]]:
    """(row, band) of bands of random heights."""
    rng, row = np.random.default_rng(seed), 0
    while row < len(found):
        height = int(rng.integers(1, tallest + 1))
        yield row, found[row : row + height]
        row += height


@contextmanager
def traced(found: Bytes, shaping: Shaping | None = None, *, seed: int = 0, tallest: int = 9) -> Iterator[Groups]:
    """What a shaping's scan, by the threshold alone where none is given, finds on a map fed in random bands."""
    with tempfile.TemporaryFile() as spill:
        scan = (shaping or Shaping(0.5)).scan(found.shape[1], spill)
        for row, band in bands(found, seed, tallest=tallest):
            scan.write(row, band)
        yield scan.finish()


def outlines_of(found: Bytes, *, seed: int = 0, tallest: int = 9) -> list[Outlines]:
    """Groups of outlines from a map fed in random bands."""
    with tempfile.TemporaryFile() as spill:
        scan = OutlineScan(found.shape[1], THRESHOLD, spill)
        for row, band in bands(found, seed, tallest=tallest):
            scan.write(row, band)
        return list(scan.finish())


def landslides_of(found: Bytes, georeference: Georeference = UTM) -> Landslides:
    """All landslides of a map that has at least one."""
    (group,) = outlines_of(found)
    return measure(group, Locator(georeference, (found.shape[0], found.shape[1])))


def polygons_of(points: NDArray[np.generic], ring_size: Sequence[int], rings: Sequence[int]) -> list[Polygon]:
    """Shapely polygons of vertices (V, 2), (x, y), in rings of a size, so many a polygon."""
    parts = np.split(np.asarray(points, np.float64), np.cumsum(ring_size)[:-1])
    found, begin = [], 0
    for count in rings:
        found.append(Polygon(parts[begin], parts[begin + 1 : begin + count]))
        begin += count
    return found
