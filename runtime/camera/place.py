"""A flat frame of metres about one place on the ellipsoid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

__all__ = ["LocalFrame"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LocalFrame:
    """Metres to the east and north of (lon, lat), degrees on WGS 84, along geodesics.

    The ground is taken as flat: within 5 km it falls away from the horizontal by 2 m, within 1 km by 8 cm.
    """

    lon: float
    lat: float

    def degrees(self, east: Float, north: Float) -> tuple[Float, Float]:
        """Longitudes and latitudes, float64, (V,), of points in metres; NaN stays NaN."""
        known = np.isfinite(east) & np.isfinite(north)
        e, n = np.where(known, east, 0.0), np.where(known, north, 0.0)
        start = [self.lon] * e.size, [self.lat] * e.size
        # As lists: pyproj 3.7 takes an array of one element for a number.
        lon, lat, _ = Geod(ellps="WGS84").fwd(*start, np.degrees(np.arctan2(e, n)).tolist(), np.hypot(e, n).tolist())
        return np.where(known, lon, np.nan), np.where(known, lat, np.nan)

    def metres(self, lon: float, lat: float) -> tuple[float, float]:
        """(east, north) of a place in degrees."""
        azimuth, _, distance = Geod(ellps="WGS84").inv(self.lon, self.lat, lon, lat)
        return float(distance * np.sin(np.radians(azimuth))), float(distance * np.cos(np.radians(azimuth)))
