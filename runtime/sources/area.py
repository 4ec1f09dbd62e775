"""The part of a raster that is wanted: polygons of a file, in whatever CRS, as a mask of pixels."""

from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import pyproj
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.features import rasterize
from rasterio.transform import Affine

from calanddet.runtime.errors import InputError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.sources.areafile import Polygons, read_polygons
from calanddet.runtime.sources.opening import gdal_errors
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.sources.wrapped import WrappedSource, nothing
from calanddet.runtime.types import Bool, Pixels, Window

__all__ = ["AreaSource", "inside_area"]

PARTS = 64
"""An edge is divided into parts of at most this share of its polygons' extent before it goes to another CRS, where it
is a little curved: a few centimetres over an area of 100 km."""
_GLANCE = 1024
"""Longest side of the mask that tells, before the work, how much of a raster is wanted."""

Float = NDArray[np.float64]


class AreaSource(WrappedSource):
    """A source of which the pixels whose centres lie in none of some polygons are not valid.

    outlines: the polygons' rings, float64, (n, 2), (col, row) in pixels, holes among them as GeoJSON has them.
    margin: pixels around them of which the colours are given all the same, so that a network that sees a tile of at
    most that size says the same as of the whole raster. What is farther away is not read.
    """

    def __init__(self, source: Source, outlines: list[list[Float]], margin: int) -> None:
        super().__init__(source)
        self._margin = margin
        self._shapes = [_Shape(rings) for rings in outlines]

    def read(self, window: Window) -> Pixels:
        """See Source.read; with the colours of what is near."""
        margin = self._margin
        wide = Window(window.row - margin, window.col - margin, window.height + 2 * margin, window.width + 2 * margin)
        wanted = self.mask(wide)
        pixels = nothing(window.height, window.width)
        if wanted is None:
            return pixels
        rows, cols = _reach(wanted, 1, margin), _reach(wanted, 0, margin)
        here = np.s_[rows.start : rows.stop, cols.start : cols.stop]
        found = self._source.read(Window(window.row + rows.start, window.col + cols.start, len(rows), len(cols)))
        pixels.rgb[here] = found.rgb
        own = wanted[margin : margin + window.height, margin : margin + window.width]
        np.logical_and(found.valid, own[here], out=pixels.valid[here])
        return Pixels(pixels.rgb, pixels.valid, context=True)

    def thumbnail(self, longest: int) -> Pixels:
        """See Source.thumbnail; without what is not wanted."""
        small = self._source.thumbnail(longest)
        wanted = self.mask(Window(0, 0, *self.info.shape), small.valid.shape)
        valid = small.valid & wanted if wanted is not None else np.zeros_like(small.valid)
        return Pixels(small.rgb * valid[..., None], valid)

    def mask(self, window: Window, shape: tuple[int, ...] | None = None, *, touched: bool = False) -> Bool | None:
        """Which pixels of a window, or of its copy in another `shape` (rows, cols), are wanted; None where none is.

        touched: also those that the polygons only touch.
        """
        shapes = [each.geometry for each in self._shapes if each.meets(window)]
        if not shapes:
            return None
        size = (window.height, window.width) if shape is None else (shape[0], shape[1])
        grid = Affine(window.width / size[1], 0.0, window.col, 0.0, window.height / size[0], window.row)
        with gdal_errors("the area of interest cannot be drawn"):
            burnt = rasterize(shapes, out_shape=size, transform=grid, all_touched=touched, dtype=np.uint8)
        wanted = np.asarray(burnt, np.uint8).view(np.bool_)
        return wanted if wanted.any() else None


class _Shape:
    """One polygon, as GDAL takes it, with its bounds in pixels."""

    def __init__(self, rings: list[Float]) -> None:
        self.geometry = {"type": "Polygon", "coordinates": [ring.tolist() for ring in rings]}
        self._low, self._high = rings[0].min(axis=0), rings[0].max(axis=0)

    def meets(self, window: Window) -> bool:
        low, high = (window.col, window.row), (window.stop_col, window.stop_row)
        return bool((self._low < high).all() and (self._high > low).all())


def inside_area(source: Source, path: Path, *, margin: int = 0) -> AreaSource:
    """`source` limited to the polygons of a vector file (GeoJSON, GPKG, and what else GDAL reads), in any CRS.

    margin: see AreaSource; at least the side of a tile where the result should be that of the whole raster.
    Raises InputError where the file has no polygon, its CRS or the raster's is not known, or they do not meet.
    """
    polygons = read_polygons(path)
    info = source.info
    area = AreaSource(source, _in_pixels(polygons, path, info.georeference, info.path), margin)
    rows, cols = info.shape
    scale = min(1.0, _GLANCE / max(rows, cols))
    glance = max(1, ceil(rows * scale)), max(1, ceil(cols * scale))
    if area.mask(Window(0, 0, rows, cols), glance, touched=True) is None:
        raise InputError(
            f"the area {path} lies outside {info.path}{_apart(area, info.shape)}: check that both are of one place"
        )
    stat = path.stat()
    identity = dict(info.identity)
    identity["files"] = [*identity.get("files", []), [path.name, stat.st_size, stat.st_mtime_ns]]
    wanted = area.mask(Window(0, 0, rows, cols), glance)
    share = 0.0 if wanted is None else float(wanted.mean())
    note = f"only what lies in {path.name} is mapped, about {share:.1%} of it; all else is nodata"
    area.info = replace(area.noted(note), identity=identity)
    return area


def _reach(wanted: Bool, across: int, margin: int) -> range:
    """Rows (across=1) or columns (0) of the window inside `margin` that lie within it of a wanted pixel."""
    found = np.flatnonzero(wanted.any(axis=across))
    length = wanted.shape[1 - across] - 2 * margin
    return range(max(int(found[0]) - 2 * margin, 0), min(int(found[-1]) + 1, length))


def _in_pixels(
    polygons: Polygons, path: Path, georeference: Georeference, place: str
) -> list[list[NDArray[np.float64]]]:
    if georeference.crs is None:
        raise InputError(f"{place} has no CRS, so there is no telling where the area {path} lies in it: map all of it")
    if polygons.crs is None:
        raise InputError(f"the area {path} does not say its CRS: write it as GeoJSON in WGS 84, or give it one")
    try:
        to_raster = pyproj.Transformer.from_crs(
            pyproj.CRS.from_user_input(polygons.crs), pyproj.CRS.from_wkt(georeference.crs.to_wkt()), always_xy=True
        )
    except ProjError as error:
        raise InputError(f"the area {path} cannot be placed in the CRS of {place} ({error})") from error
    corners = np.concatenate([ring for rings in polygons.rings for ring in rings])
    longest = float(np.ptp(corners, axis=0).max()) / PARTS
    found = []
    for rings in polygons.rings:
        placed = []
        for ring in rings:
            x, y = to_raster.transform(*_divided(ring, longest).T)
            if not (np.isfinite(x).all() and np.isfinite(y).all()):
                raise InputError(f"the area {path} reaches to where the CRS of {place} has no places: make it smaller")
            rows, cols = georeference.pixels(x, y)
            placed.append(np.stack([cols, rows], axis=1))
        found.append(placed)
    return found


def _divided(ring: Float, longest: float) -> Float:
    """`ring` with points between its corners, so that no part is longer than `longest` along x or y."""
    steps = np.abs(np.diff(ring, axis=0)).max(axis=1) / longest if longest > 0.0 else np.zeros(len(ring) - 1)
    counts = np.maximum(np.ceil(steps).astype(int), 1)
    at = np.concatenate([np.arange(count) / count + index for index, count in enumerate(counts)] + [[len(counts)]])
    corner = np.arange(len(ring))
    return np.stack([np.interp(at, corner, axis) for axis in ring.T], axis=1)


def _apart(area: AreaSource, shape: tuple[int, int]) -> str:
    """Where the polygons are, in pixels, as far as numbers help."""
    low = np.min([shape._low for shape in area._shapes], axis=0)
    high = np.max([shape._high for shape in area._shapes], axis=0)
    return (
        f" (columns {low[0]:,.0f} to {high[0]:,.0f} and rows {low[1]:,.0f} to {high[1]:,.0f} of a raster of "
        f"{shape[1]:,} columns and {shape[0]:,} rows)"
    )
