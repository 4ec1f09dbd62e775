"""Where a raster lies, as its file says it."""

import pyproj
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from calanddet.runtime.georef import Georeference
from calanddet.runtime.gsd import geodetic_base

__all__ = ["georeference_of"]

_IN_PIXELS = "polygons will be in pixels, without areas"


def georeference_of(dataset: DatasetReader) -> tuple[Georeference, tuple[str, ...]]:
    """The georeference of an open raster and what the user should know about it.

    A transform outranks ground control points; a CRS counts only with one of the two. One that is not tied to a planet,
    as a site's own grid, is kept for the outputs. Rational polynomials (RPC) are not used.
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
    if not _on_a_planet(crs):
        notes += (f"its CRS is not tied to the Earth: {_IN_PIXELS}",)
    return Georeference(crs, transform, gcps), notes


def _on_a_planet(crs: CRS) -> bool:
    try:
        return geodetic_base(pyproj.CRS.from_wkt(crs.to_wkt())) is not None
    except (ProjError, ValueError):
        return False
