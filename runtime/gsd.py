"""How large a raster's pixels are on the ground."""

from math import degrees, isfinite, radians, sin, sqrt

import numpy as np
import pyproj
from pyproj.exceptions import ProjError

from calanddet.runtime.georef import Georeference

__all__ = ["geodetic_base", "ground_size"]


def geodetic_base(crs: pyproj.CRS) -> pyproj.CRS | None:
    """Longitude and latitude on the ellipsoid of `crs`, not turned; None where it has none, as a site's own grid."""
    base = crs.geodetic_crs
    while base is not None and base.is_derived and base.source_crs is not None:
        base = base.source_crs
    return base if base is not None and base.is_geographic and base.ellipsoid is not None else None


def ground_size(georeference: Georeference, shape: tuple[int, int]) -> float | None:
    """Square root of the ground area, in metres, of the pixel at the centre of a raster of `shape` (rows, cols).

    The pixel's two axes are measured as geodesics on the CRS's own ellipsoid, which holds for degrees, feet and
    Mercator's stretched metres alike. None where there is no CRS, or the centre has no place on the ellipsoid.
    """
    if georeference.crs is None:
        return None
    row, col = shape[0] / 2, shape[1] / 2
    x, y = georeference.ground([row, row, row - 0.5, row + 0.5], [col - 0.5, col + 0.5, col, col])
    try:
        own = pyproj.CRS.from_wkt(georeference.crs.to_wkt())
        base = geodetic_base(own)
        if base is None:
            return None
        to_base = pyproj.Transformer.from_crs(own, base, always_xy=True)
        lon, lat = (np.asarray(axis) * _degrees_per_unit(base) for axis in to_base.transform(x, y))
        geod = base.get_geod()
        if geod is None or not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            return None
        across, _, width = geod.inv(lon[0], lat[0], lon[1], lat[1])
        down, _, height = geod.inv(lon[2], lat[2], lon[3], lat[3])
    except ProjError:
        return None
    area = width * height * abs(sin(radians(down - across)))
    return sqrt(area) if isfinite(area) and area > 0.0 else None


def _degrees_per_unit(base: pyproj.CRS) -> float:
    return degrees(base.axis_info[0].unit_conversion_factor)
