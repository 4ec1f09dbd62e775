"""Where pixels lie: on the ground, on the ellipsoid of the raster's CRS, and in the longitudes of GeoJSON."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from pyproj.network import is_network_enabled, set_network_enabled  # type: ignore[attr-defined]  # not in its __all__

from calanddet.runtime.georef import Georeference
from calanddet.runtime.gsd import geodetic_base, ground_size
from calanddet.runtime.polygons.measure import Ellipsoid

__all__ = ["Locator", "Positions", "is_earth", "offline"]

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
EARTH_RADIUS_M = 6378137.0
STRAIGHT_M = 1000.0
"""An edge of this length bends by 2 to 4 cm between one projection and another; longer ones are divided."""
STRAIGHT_GCP_PX = 64.0


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Points three times over, NaN where the CRS has no such place.

    ground: float64, (V, 2), (x, y) in the raster's CRS, or (col, row) without one. lon, lat: float64, (V,), radians
    on the CRS's own ellipsoid, empty without a CRS. degrees: float64, (V, 2), (lon, lat) of GeoJSON: WGS 84 on Earth,
    the body's own elsewhere, (col, row) without a CRS.
    """

    ground: Float
    lon: Float
    lat: Float
    degrees: Float


class Locator:
    """Finds the pixels of one raster of the given (height, width).

    body: "earth", "other" (the Moon, Mars: GeoJSON in that body's own longitudes) or "none" (pixels).
    gsd_m: see `ground_size`.
    """

    def __init__(self, georeference: Georeference, shape: tuple[int, int]) -> None:
        self.georeference = georeference
        self.body = "none"
        self.ellipsoid: Ellipsoid | None = None
        self._to_base: Transformer | None = None
        self._to_wgs84: Transformer | None = None
        self._radians = np.pi / 180.0
        if georeference.crs is not None:
            self._connect(CRS.from_wkt(georeference.crs.to_wkt()))
        self.gsd_m = None if self.body == "none" else ground_size(georeference, shape)

    @property
    def straight_px(self) -> float:
        """Pixels after which an edge needs another vertex to stay where it is in every projection."""
        by_length = STRAIGHT_M / self.gsd_m if self.gsd_m else np.inf
        return max(1 / 16, min(by_length, STRAIGHT_GCP_PX if self.georeference.gcps else np.inf))

    def locate(self, rows: Float, cols: Float) -> Positions:
        """Positions of pixel corners at (row, col), float64, (V,); whole numbers are corners."""
        if self._to_base is None:
            pixels = np.stack([cols, rows], axis=1)
            return Positions(pixels, np.empty(0), np.empty(0), pixels)
        x, y = self.georeference.ground(rows, cols)
        with offline():
            lon, lat = _transformed(self._to_base, x, y)
            if self._to_wgs84 is None:
                degrees = np.stack([np.degrees(lon * self._radians), np.degrees(lat * self._radians)], axis=1)
            else:
                degrees = np.stack(_transformed(self._to_wgs84, x, y), axis=1)
        return Positions(np.stack([x, y], axis=1), lon * self._radians, lat * self._radians, degrees)

    def _connect(self, crs: CRS) -> None:
        base = geodetic_base(crs)
        if base is None or base.ellipsoid is None:
            logger.warning("the CRS %s has no longitudes and latitudes: polygons are given in pixels", crs.name)
            return
        wgs84 = CRS.from_epsg(4326)
        a, b = base.ellipsoid.semi_major_metre, base.ellipsoid.semi_minor_metre
        earth = is_earth(a)
        try:
            with offline():
                self._to_base = Transformer.from_crs(crs, base, always_xy=True)
                if earth and base.to_epsg() != 4326:
                    self._to_wgs84 = Transformer.from_crs(crs, wgs84, always_xy=True)
        except ProjError as error:
            logger.warning("the CRS %s cannot be brought to WGS 84 (%s): polygons are given in pixels", crs.name, error)
            self._to_base = None
            return
        self._radians = base.axis_info[0].unit_conversion_factor
        self.body = "earth" if earth else "other"
        self.ellipsoid = Ellipsoid(a, 1.0 - (b / a) ** 2)


def _transformed(transformer: Transformer, x: Float, y: Float) -> tuple[Float, Float]:
    """Longitudes and latitudes, NaN where PROJ says infinity because a projection has no inverse there."""
    if len(x) == 1:  # which pyproj 3.6 takes for a number, in vain
        lon, lat = _transformed(transformer, np.repeat(x, 2), np.repeat(y, 2))
        return lon[:1], lat[:1]
    lon, lat = (np.array(axis, np.float64) for axis in transformer.transform(x, y))
    bad = ~(np.isfinite(lon) & np.isfinite(lat))
    lon[bad] = lat[bad] = np.nan
    return lon, lat


def is_earth(radius_m: float) -> bool:
    """Whether an ellipsoid is the Earth's, by its equatorial radius."""
    return abs(radius_m / EARTH_RADIUS_M - 1.0) < 0.005


@contextmanager
def offline() -> Iterator[None]:
    """No grid is fetched: a map made in the field equals one made in the office."""
    enabled = is_network_enabled()
    set_network_enabled(False)
    try:
        yield
    finally:
        set_network_enabled(enabled)
