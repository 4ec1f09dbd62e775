"""Where a raster lies, as its file says it, and how large its pixels are on the ground."""

from math import degrees, isfinite, radians, sin, sqrt

import numpy as np
import pyproj
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from calanddet.runtime.georef import Georeference

__all__ = ["georeference_of", "ground_size"]

_IN_PIXELS = "polygons will be in pixels, without areas"


def georeference_of(dataset: DatasetReader) -> tuple[Georeference, tuple[str, ...]]:
    """The georeference of an open raster and what the user should know about it.

    A transform outranks ground control points; a CRS counts only with one of the two, and only where it is tied to a
    planet. Rational polynomials (RPC) are not used.
    """
    crs, transform, gcps = dataset.crs, dataset.transform, ()
    notes: tuple[str, ...] = ()
    if transform == Affine.identity():
        points, gcp_crs = dataset.gcps
        if points:
            gcps, crs = tuple(points), gcp_crs
            notes += (f"it is placed by {len(points)} ground control points, not by a transform",)
        elif crs:
            return Georeference(), (f"it has a CRS but no transform: {_IN_PIXELS}",)
        elif dataset.rpcs:
            return Georeference(), (f"it is placed by rational polynomials (RPC), which are not used: {_IN_PIXELS}",)
    if not crs:
        return Georeference(None, transform, gcps), (*notes, f"it has no CRS: {_IN_PIXELS}")
    if _geodetic(crs) is None:
        return Georeference(None, transform, gcps), (*notes, f"its CRS is not tied to the Earth: {_IN_PIXELS}")
    return Georeference(crs, transform, gcps), notes


def ground_size(georeference: Georeference, shape: tuple[int, int]) -> float | None:
    """Square root of the ground area, in metres, of the pixel at the centre of a raster of `shape` (rows, cols).

    The pixel's two axes are measured as geodesics on the CRS's own ellipsoid, which holds for degrees, feet and
    Mercator's stretched metres alike. None where there is no CRS, or the centre has no place on the ellipsoid.
    """
    geodetic = None if georeference.crs is None else _geodetic(georeference.crs)
    if georeference.crs is None or geodetic is None:
        return None
    row, col = shape[0] / 2, shape[1] / 2
    x, y = georeference.ground([row, row, row - 0.5, row + 0.5], [col - 0.5, col + 0.5, col, col])
    try:
        own = pyproj.CRS.from_wkt(georeference.crs.to_wkt())
        to_degrees = pyproj.Transformer.from_crs(own, geodetic, always_xy=True)
        lon, lat = (np.asarray(axis) * _degrees_per_unit(geodetic) for axis in to_degrees.transform(x, y))
        geod = geodetic.get_geod()
        if geod is None or not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            return None
        across, _, width = geod.inv(lon[0], lat[0], lon[1], lat[1])
        down, _, height = geod.inv(lon[2], lat[2], lon[3], lat[3])
    except ProjError:
        return None
    area = width * height * abs(sin(radians(down - across)))
    return sqrt(area) if isfinite(area) and area > 0.0 else None


def _geodetic(crs: CRS) -> pyproj.CRS | None:
    """Longitude and latitude on the ellipsoid of `crs`; None where it has none, as a site's own grid."""
    try:
        return pyproj.CRS.from_wkt(crs.to_wkt()).geodetic_crs
    except (ProjError, ValueError):
        return None


def _degrees_per_unit(geodetic: pyproj.CRS) -> float:
    return degrees(geodetic.axis_info[0].unit_conversion_factor)
