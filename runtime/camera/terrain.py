"""The ground below a camera: a level, or a piece of a digital elevation model."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from calanddet.runtime.camera.place import LocalFrame
from calanddet.runtime.errors import InputError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.gsd import ground_size

__all__ = ["Dem", "DemPatch", "Level", "Terrain"]

Float = NDArray[np.float64]
MOST_CELLS = 2048
"""Cells along a side of the piece of a DEM that is held; finer ones are averaged."""
MARGIN_CELLS = 3
METRES, FEET, SURVEY_FEET = 1.0, 0.3048, 1200 / 3937
UNITS = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), METRES),
    **dict.fromkeys(("ft", "foot", "feet", "international foot"), FEET),
    **dict.fromkeys(("us-ft", "ftus", "us survey foot", "us survey feet", "foot_us", "us foot"), SURVEY_FEET),
}
"""Metres in a unit, by what GDAL, EPSG, PROJ and Esri call it."""


class Terrain(Protocol):
    """Ground heights in a local frame."""

    @property
    def cell_m(self) -> float:
        """Size of its finest features, metres; infinite for a plane."""
        ...

    @property
    def range_m(self) -> tuple[float, float]:
        """Lowest and highest ground."""
        ...

    @property
    def steepest(self) -> float:
        """Rise over run that is nowhere exceeded."""
        ...

    def heights(self, east: Float, north: Float) -> Float:
        """Heights, float64, (V,), at points in metres; NaN where they are not known."""
        ...


@dataclass(frozen=True, slots=True)
class Level:
    """Ground at one height everywhere."""

    height_m: float = 0.0

    @property
    def cell_m(self) -> float:
        """See Terrain.cell_m."""
        return float("inf")

    @property
    def range_m(self) -> tuple[float, float]:
        """See Terrain.range_m."""
        return self.height_m, self.height_m

    @property
    def steepest(self) -> float:
        """See Terrain.steepest."""
        return 0.0

    def heights(self, east: Float, north: Float) -> Float:
        """See Terrain.heights."""
        return np.where(np.isfinite(east + north), self.height_m, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class DemPatch:
    """values: float64, (rows, cols), NaN where not known; terms: float64, (6, 2), from metres to (row, col) of its
    cells' centres as a polynomial in 1, e, n, e2, en, n2 of (east, north) / scale_m;
    narrowest_m: their shorter side."""

    values: Float
    terms: Float
    scale_m: float
    cell_m: float
    narrowest_m: float

    @property
    def range_m(self) -> tuple[float, float]:
        """See Terrain.range_m."""
        return float(np.nanmin(self.values)), float(np.nanmax(self.values))

    @property
    def steepest(self) -> float:
        """See Terrain.steepest; cells of degrees are narrower than they are high, so a tenth is added."""
        steps = np.nanmax(np.abs(np.diff(self.values, axis=0))), np.nanmax(np.abs(np.diff(self.values, axis=1)))
        return 1.1 * float(np.hypot(*steps)) / self.narrowest_m

    def heights(self, east: Float, north: Float) -> Float:
        """See Terrain.heights; bilinear between the centres of four known cells."""
        row, col = np.moveaxis(_monomials(east / self.scale_m, north / self.scale_m) @ self.terms, -1, 0)
        rows, cols = self.values.shape
        inside = (row >= 0.0) & (col >= 0.0) & (row <= rows - 1.0) & (col <= cols - 1.0)
        row, col = np.where(inside, row, 0.0), np.where(inside, col, 0.0)
        i, j = np.minimum(row.astype(np.int64), rows - 2), np.minimum(col.astype(np.int64), cols - 2)
        y, x = row - i, col - j
        top = self.values[i, j] * (1.0 - x) + self.values[i, j + 1] * x
        bottom = self.values[i + 1, j] * (1.0 - x) + self.values[i + 1, j + 1] * x
        return np.where(inside, top * (1.0 - y) + bottom * y, np.nan)


class Dem:
    """An elevation model in a raster file, of which pieces are read; a context manager.

    One band; the file's own scale, offset and unit make metres of it, and where it says no unit it holds metres.
    """

    def __init__(self, path: Path) -> None:
        """Raises InputError where it is missing, no raster, not georeferenced, or without heights in a known unit."""
        self.path = path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._file = rasterio.open(path)
        except (RasterioError, OSError) as error:
            raise InputError(f"the elevation model {path} cannot be opened as a raster ({error})") from error
        if self._file.crs is None or self._file.transform.is_identity:
            self._file.close()
            raise InputError(f"the elevation model {path} has no georeference: it cannot be laid under a camera")
        if self._file.count != 1:
            count = self._file.count
            self._file.close()
            raise InputError(f"the elevation model {path} has {count} bands: give one with heights alone")
        size = ground_size(Georeference(self._file.crs, self._file.transform), self._file.shape)
        if size is None:
            self._file.close()
            raise InputError(f"the elevation model {path} lies nowhere on the ground: its CRS has no longitudes")
        try:
            self._unit_m = _unit_m(self._file)
        except InputError:
            self._file.close()
            raise
        self.cell_m = size
        self._from_wgs84 = pyproj.Transformer.from_crs(4326, self._file.crs.to_wkt(), always_xy=True)

    def around(self, frame: LocalFrame, radius_m: float) -> DemPatch:
        """The piece within `radius_m` of a place, cut where the model ends.

        Raises InputError where the place is outside the model, or no height is known near it.
        """
        radius = max(radius_m, 4.0 * self.cell_m)
        e, n = (grid.ravel() for grid in np.meshgrid(np.linspace(-radius, radius, 7), np.linspace(-radius, radius, 7)))
        try:
            x, y = self._from_wgs84.transform(*frame.degrees(e, n))
        except ProjError as error:
            raise InputError(f"the elevation model {self.path} cannot be placed ({error})") from error
        to_cell = ~self._file.transform
        col, row = to_cell.a * x + to_cell.b * y + to_cell.c, to_cell.d * x + to_cell.e * y + to_cell.f
        window = self._window(row, col)
        middle = len(row) // 2
        inside = 0.0 <= col[middle] <= self._file.width and 0.0 <= row[middle] <= self._file.height
        if window is None or not inside:
            raise InputError(
                f"the elevation model {self.path} does not cover the camera's place, longitude {frame.lon:.5f}, "
                f"latitude {frame.lat:.5f}: give one that does, or none"
            )
        values, step = self._read(window)
        cells = np.stack([(row - window.row_off) / step[0] - 0.5, (col - window.col_off) / step[1] - 0.5], axis=1)
        terms = np.linalg.lstsq(_monomials(e / radius, n / radius), cells, rcond=None)[0]
        sides = radius / np.maximum(np.hypot(terms[1], terms[2]), 1e-9)
        return DemPatch(values, terms, radius, self.cell_m * max(step), float(sides.min()))

    def _window(self, row: Float, col: Float) -> Window | None:
        if not np.isfinite(row + col).all():
            return None
        top, left = (max(0, int(np.floor(at.min())) - MARGIN_CELLS) for at in (row, col))
        bottom = min(self._file.height, int(np.ceil(row.max())) + MARGIN_CELLS)
        right = min(self._file.width, int(np.ceil(col.max())) + MARGIN_CELLS)
        return Window(left, top, right - left, bottom - top) if bottom - top >= 2 and right - left >= 2 else None

    def _read(self, window: Window) -> tuple[Float, tuple[float, float]]:
        shape = min(window.height, MOST_CELLS), min(window.width, MOST_CELLS)
        try:
            read = self._file.read(1, window=window, out_shape=shape, masked=True, resampling=Resampling.average)
        except (RasterioError, OSError) as error:
            raise InputError(f"the elevation model {self.path} cannot be read ({error})") from error
        values = np.ma.filled(read.astype(np.float64), np.nan) * self._file.scales[0] + self._file.offsets[0]
        values *= self._unit_m
        if not np.isfinite(values).any():
            raise InputError(f"the elevation model {self.path} knows no height below the camera")
        return values, (window.height / shape[0], window.width / shape[1])

    def close(self) -> None:
        """Release the file; idempotent."""
        with suppress(RasterioError):
            self._file.close()

    def __enter__(self) -> "Dem":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _unit_m(file: rasterio.DatasetReader) -> float:
    """Metres in the unit of the heights: of the band, else of the CRS's vertical axis, else metres.

    Raises InputError for a unit that is not known.
    """
    said = (file.units[0] or "").strip()
    if said:
        unit = UNITS.get(said.lower())
        if unit is None:
            raise InputError(
                f"the elevation model {file.name} has heights in {said!r}; metres and feet are known: convert it, or "
                "name the right unit (gdal_edit.py -units m)"
            )
        return unit
    upward = [axis for axis in pyproj.CRS.from_user_input(file.crs).axis_info if axis.direction == "up"]
    return upward[0].unit_conversion_factor if upward else METRES


def _monomials(east: Float, north: Float) -> Float:
    return np.stack([np.ones_like(east), east, north, east * east, east * north, north * north], axis=-1)
