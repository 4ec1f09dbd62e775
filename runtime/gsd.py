"""How large a raster's pixels are on the ground, and how much larger they should be."""

from fractions import Fraction
from functools import lru_cache
from math import degrees, isfinite, radians, sin, sqrt

import numpy as np
import pyproj
from pyproj.exceptions import ProjError

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.georef import Georeference

__all__ = ["factors_to", "geodetic_base", "ground_size", "pixel_size"]

SLACK = 0.002
"""Share by which a resampled pixel may miss the size that was asked for: less than a map projection's own scale does
over a scene, and enough for simple ratios, so that 0.25 m in UTM to 0.5 m is a factor of exactly 2."""
MOST_LARGER, MOST_SMALLER = 64, 16


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
    measured = _measured(georeference, shape)
    return None if measured is None else sqrt(measured[0] * measured[1] * measured[2])


def pixel_size(georeference: Georeference, shape: tuple[int, int]) -> tuple[float, float] | None:
    """(height, width) in metres, as geodesics, of the pixel at the centre; None as in `ground_size`."""
    measured = _measured(georeference, shape)
    return None if measured is None else measured[:2]


def factors_to(gsd_m: float, size_m: tuple[float, float]) -> tuple[Fraction, Fraction]:
    """How many pixels of `size_m` (height, width), metres, make one of `gsd_m`: (down, across), the simplest fractions
    within 0.2 % of it.

    Raises OptionError for a size that is no positive number, InputError where it is out of proportion.
    """
    if not (isfinite(gsd_m) and gsd_m > 0.0):
        raise OptionError(f"the ground sampling distance must be a positive number of metres, not {gsd_m}")
    for side in size_m:
        if not 1 / MOST_SMALLER <= gsd_m / side <= MOST_LARGER:
            raise InputError(
                f"its pixels are {side:.3g} m and cannot become {gsd_m:g} m: at most {MOST_LARGER} are joined, and one "
                f"is cut into at most {MOST_SMALLER} along a side; the distance is in metres"
            )
    down, across = (_simplest(gsd_m / side) for side in size_m)
    return down, across


def _simplest(ratio: float) -> Fraction:
    """The fraction of the smallest denominator within SLACK of `ratio`."""
    for denominator in range(1, 1000):
        nearest = Fraction(round(ratio * denominator), denominator)
        if abs(float(nearest) / ratio - 1.0) <= SLACK:
            return nearest
    raise OptionError(f"{ratio} is no ratio of two pixels")


def _measured(georeference: Georeference, shape: tuple[int, int]) -> tuple[float, float, float] | None:
    """Height and width, metres, of the pixel at the centre, and the sine of the angle between its sides."""
    if georeference.crs is None:
        return None
    row, col = shape[0] / 2, shape[1] / 2
    x, y = georeference.ground([row, row, row - 0.5, row + 0.5], [col - 0.5, col + 0.5, col, col])
    try:
        ground = _ground(georeference.crs.to_wkt())
        if ground is None:
            return None
        to_base, geod, unit = ground
        lon, lat = (np.asarray(axis) * unit for axis in to_base.transform(x, y))
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            return None
        across, _, width = geod.inv(lon[0], lat[0], lon[1], lat[1])
        down, _, height = geod.inv(lon[2], lat[2], lon[3], lat[3])
    except ProjError:
        return None
    sine = abs(sin(radians(down - across)))
    return (height, width, sine) if isfinite(height * width) and height * width * sine > 0.0 else None


@lru_cache(maxsize=16)
def _ground(wkt: str) -> tuple[pyproj.Transformer, pyproj.Geod, float] | None:
    """From a CRS to longitude and latitude, and what they are of; a mosaic asks for the same one a thousand times."""
    own = pyproj.CRS.from_wkt(wkt)
    base = geodetic_base(own)
    geod = None if base is None else base.get_geod()
    if base is None or geod is None:
        return None
    return pyproj.Transformer.from_crs(own, base, always_xy=True), geod, _degrees_per_unit(base)


def _degrees_per_unit(base: pyproj.CRS) -> float:
    return degrees(base.axis_info[0].unit_conversion_factor)
