"""Where a raster lies on the ground: an affine transform or ground control points, and their CRS."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine, GCPTransformer

__all__ = ["Georeference"]


@dataclass(frozen=True, slots=True, eq=False)
class Georeference:
    """The grid of a raster; without a CRS, ground coordinates are pixels (x = column, y = row).

    transform maps (column, row) of a pixel's corner to (x, y); gcps stand in for it where a raster has no transform.
    """

    crs: CRS | None = None
    transform: Affine = field(default_factory=Affine.identity)
    gcps: tuple[GroundControlPoint, ...] = ()

    def ground(self, rows: ArrayLike, cols: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ground coordinates (x, y), float64, of pixel corners at (row, col); whole numbers are corners."""
        row, col = np.asarray(rows, np.float64), np.asarray(cols, np.float64)
        if self.gcps:
            with GCPTransformer(list(self.gcps)) as transformer:
                x, y = transformer.xy(row.ravel(), col.ravel(), offset="ul")
            return np.asarray(x, np.float64).reshape(row.shape), np.asarray(y, np.float64).reshape(row.shape)
        t = self.transform
        return t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f

    def accuracy(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float64] | None:  # noqa: ARG002
        """Horizontal accuracy in metres, one sigma, float64, of pixel corners at (row, col); None where no one says."""
        return None
