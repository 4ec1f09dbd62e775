"""Where a raster lies on the ground: an affine transform or ground control points, and their CRS."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine, GCPTransformer

__all__ = ["Georeference", "ScaledGeoreference"]


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

    def pixels(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(rows, cols), float64, of ground coordinates: what `ground` takes, backwards."""
        easting, northing = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.gcps:
            with GCPTransformer(list(self.gcps)) as transformer:
                row, col = transformer.rowcol(easting.ravel(), northing.ravel(), op=np.asarray)
            return np.asarray(row, np.float64).reshape(easting.shape), np.asarray(col, np.float64).reshape(
                easting.shape
            )
        t = ~self.transform
        return t.d * easting + t.e * northing + t.f, t.a * easting + t.b * northing + t.c

    def accuracy(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float64] | None:  # noqa: ARG002
        """Horizontal accuracy in metres, one sigma, float64, of pixel corners at (row, col); None where no one says."""
        return None


@dataclass(frozen=True, slots=True, eq=False)
class ScaledGeoreference(Georeference):
    """The grid of a resampled raster: see `of`. What is asked of it, the `whole` grid answers."""

    whole: Georeference = field(default_factory=Georeference)
    factors: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1))

    @classmethod
    def of(cls, whole: Georeference, factors: tuple[Fraction, Fraction]) -> "ScaledGeoreference":
        """`whole` with pixels `factors` (down, across) times as large and the same first corner."""
        down, across = (float(factor) for factor in factors)
        points = tuple(
            GroundControlPoint(p.row / down, p.col / across, p.x, p.y, p.z, p.id, p.info) for p in whole.gcps
        )
        t = whole.transform
        transform = t if points else Affine(t.a * across, t.b * down, t.c, t.d * across, t.e * down, t.f)
        return cls(whole.crs, transform, points, whole, factors)

    def ground(self, rows: ArrayLike, cols: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See Georeference.ground."""
        return self.whole.ground(*self._unscaled(rows, cols))

    def pixels(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See Georeference.pixels."""
        rows, cols = self.whole.pixels(x, y)
        return rows / float(self.factors[0]), cols / float(self.factors[1])

    def accuracy(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """See Georeference.accuracy."""
        return self.whole.accuracy(*self._unscaled(rows, cols))

    def _unscaled(self, rows: ArrayLike, cols: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        down, across = (float(factor) for factor in self.factors)
        return np.asarray(rows, np.float64) * down, np.asarray(cols, np.float64) * across
