"""A picture's place on the ground, as the rest of the package knows places."""

from dataclasses import dataclass

import numpy as np
import pyproj
from numpy.typing import ArrayLike, NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from calanddet.runtime.camera.place import LocalFrame
from calanddet.runtime.camera.sight import Sight
from calanddet.runtime.errors import InputError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.types import Bool

__all__ = ["CELL_PX", "CameraGeoreference"]

Float = NDArray[np.float64]
_NODES = 7
"""Ground control points along a side, for what can only work with those: 49 of them fix GDAL's polynomials well."""
_FEWEST = 10
MOST_UNSURE_M = 100.0
"""Ground that is known less well, as near the horizon, is not taken for seen."""
CELL_PX = 16
"""Side of the cells of `shows_ground`."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraGeoreference(Georeference):
    """The ground under each pixel of a picture, found by its camera: see `of`."""

    sight: Sight | None = None

    @classmethod
    def of(cls, sight: Sight, crs: CRS | None = None) -> "CameraGeoreference":
        """In the UTM zone (WGS 84) of the camera, or in `crs`. Its gcps are for readers of the rasters; `ground` is
        exact."""
        height, width = sight.lens.shape
        rows, cols = (a.ravel() for a in np.meshgrid(np.linspace(0, height, _NODES), np.linspace(0, width, _NODES)))
        bare = cls(crs=crs or _utm(sight.pose.lon, sight.pose.lat), sight=sight)
        x, y = bare.ground(rows, cols)
        up = sight.ground(rows, cols)[:, 2]
        known = np.flatnonzero(np.isfinite(x + y))
        if len(known) < _FEWEST:
            return bare
        points = tuple(GroundControlPoint(rows[n], cols[n], x[n], y[n], up[n]) for n in known)
        return cls(crs=bare.crs, gcps=points, sight=sight)

    def ground(self, rows: ArrayLike, cols: ArrayLike) -> tuple[Float, Float]:
        """See Georeference.ground; NaN where a pixel shows no ground, as above the horizon."""
        assert self.sight is not None
        assert self.crs is not None
        row, col = np.asarray(rows, np.float64), np.asarray(cols, np.float64)
        point = self.sight.ground(row.ravel(), col.ravel())
        pose = self.sight.pose
        lon, lat = LocalFrame(pose.lon, pose.lat).degrees(point[:, 0], point[:, 1])
        known = np.isfinite(lon)
        to_crs = pyproj.Transformer.from_crs(4326, self.crs.to_wkt(), always_xy=True)
        x, y = np.full(len(lon), np.nan), np.full(len(lon), np.nan)
        if known.any():
            x[known], y[known] = to_crs.transform(lon[known].tolist(), lat[known].tolist())  # lists: see LocalFrame
        return x.reshape(row.shape), y.reshape(row.shape)

    def pixels(self, x: ArrayLike, y: ArrayLike) -> tuple[Float, Float]:  # noqa: ARG002  a refusal
        """Not to be had: what lies in the shade of a hill has no pixel. Raises InputError."""
        raise InputError("a picture that its camera places cannot be cut by ground coordinates: map all of it")

    def accuracy(self, rows: Float, cols: Float) -> Float | None:
        """See Georeference.accuracy and Sight.accuracy."""
        assert self.sight is not None
        return self.sight.accuracy(rows, cols)

    def shows_ground(self) -> Bool:
        """Which cells of 16 x 16 pixels show ground, known within 100 m, at all corners: bool, (rows, cols)."""
        assert self.sight is not None
        height, width = self.sight.lens.shape
        rows = np.minimum(np.arange(0, height + CELL_PX, CELL_PX), height).astype(np.float64)
        cols = np.minimum(np.arange(0, width + CELL_PX, CELL_PX), width).astype(np.float64)
        grid = np.meshgrid(rows, cols, indexing="ij")
        known = np.isfinite(_seen(self.sight, grid[0].ravel(), grid[1].ravel())[:, 0]).reshape(grid[0].shape)
        return np.asarray(known[:-1, :-1] & known[1:, :-1] & known[:-1, 1:] & known[1:, 1:])

    def footprint(self) -> tuple[Float, Float]:
        """Longitudes and latitudes, float64, (n,), around the ground that the picture shows, unclosed.

        Where its edge shows no ground, the outline follows the farthest ground below it in the picture; empty where
        there is none.
        """
        assert self.sight is not None
        rows, cols = self.sight.lens.outline
        height, width = self.sight.lens.shape
        point = _seen(self.sight, rows, cols)
        if not np.isfinite(point[:, 0]).all():
            rows, cols = _lowered(self.sight, rows, cols, (height, width))
            point = _seen(self.sight, rows, cols)
        known = np.isfinite(point[:, 0])
        if known.sum() < 3:
            return np.empty(0), np.empty(0)
        pose = self.sight.pose
        return LocalFrame(pose.lon, pose.lat).degrees(point[known, 0], point[known, 1])


def _lowered(sight: Sight, rows: Float, cols: Float, shape: tuple[int, int]) -> tuple[Float, Float]:
    """Points moved straight from the picture's edge towards the middle of its lower edge until they show ground."""
    start = np.stack([rows, cols], axis=1)
    aim = np.array([shape[0], shape[1] / 2.0])
    low, high = np.zeros(len(rows)), np.ones(len(rows))
    for _ in range(14):
        middle = (low + high) / 2.0
        at = start + middle[:, None] * (aim - start)
        known = np.isfinite(_seen(sight, at[:, 0], at[:, 1])[:, 0])
        low, high = np.where(known, low, middle), np.where(known, middle, high)
    already = np.isfinite(_seen(sight, rows, cols)[:, 0])
    at = start + np.where(already, 0.0, high)[:, None] * (aim - start)
    return at[:, 0], at[:, 1]


def _seen(sight: Sight, rows: Float, cols: Float) -> Float:
    """As Sight.ground, NaN also where the place is known no better than by MOST_UNSURE_M."""
    sure = sight.accuracy(rows, cols) <= MOST_UNSURE_M
    return np.where(sure[:, None], sight.ground(rows, cols), np.nan)


def _utm(lon: float, lat: float) -> CRS:
    zone = int((lon + 180.0) // 6.0) % 60 + 1
    return CRS.from_epsg((32600 if lat >= 0.0 else 32700) + zone)
