"""How well a map agrees with the truth, read from their rasters in strips."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as GdalWindow

from calanddet.runtime.errors import InputError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.metrics import Counts, count, pooled
from calanddet.runtime.spec import NODATA, SCALE
from calanddet.runtime.types import Bool

__all__ = ["compare_masks"]

STRIP_ROWS = 512
MOST_PIXELS_APART = 0.1
"""By which the corners of two rasters of one scene may differ: rounding, not another place."""


def compare_masks(mask: Path, truth: Path) -> Counts:
    """Pixel counts of a mask raster (0, 1, 255 not mapped) against a truth raster of the same grid.

    The truth holds 0 and 1 (landslide); 255, and what it calls nodata itself, is not known. Pixels that were not mapped
    or are not known are not counted. Where one of them has no CRS or no transform, the grid is taken for the other's.
    Raises InputError where a file cannot be read, the grids differ, or the truth holds other values, or 255 and no 1.
    """
    parts, values = list[Counts](), set[int]()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(mask) as found, rasterio.open(truth) as wanted:
                _check_grids(found, wanted)
                for row in range(0, found.height, STRIP_ROWS):
                    window = GdalWindow(0, row, found.width, min(STRIP_ROWS, found.height - row))
                    seen, real = found.read(1, window=window), wanted.read(1, window=window)
                    known = wanted.read_masks(1, window=window) != 0
                    values.update(_values(truth, real, known))
                    probability = np.where(seen == 1, np.uint8(SCALE), np.uint8(0))
                    parts.append(count(probability, real == 1, valid=(seen != NODATA) & known & (real != NODATA)))
    except (RasterioError, OSError) as error:
        raise InputError(f"{mask} and {truth} cannot be compared: {error}") from error
    if NODATA in values and 1 not in values:
        raise InputError(
            f"the truth {truth} holds {NODATA} and no 1, which may be landslides or what is not known: "
            "write landslides as 1, or declare 255 as its nodata value"
        )
    return pooled(parts)


def _check_grids(found: rasterio.DatasetReader, wanted: rasterio.DatasetReader) -> None:
    """Raises InputError where sizes, CRS or places differ."""
    named = f"{found.name} and {wanted.name} are not of the same scene"
    if found.shape != wanted.shape:
        raise InputError(f"{named}: they have {found.shape} and {wanted.shape} pixels (rows, columns)")
    if found.crs is not None and wanted.crs is not None and found.crs != wanted.crs:
        raise InputError(f"{named}: their CRS are {found.crs} and {wanted.crs}; warp one to the other's grid")
    if found.transform.is_identity or wanted.transform.is_identity:
        return
    corners = np.array([[0, 0, 1, 1], [0, 1, 0, 1]]) * np.array(found.shape)[:, None]
    ground = Georeference(transform=wanted.transform).ground(*corners)
    apart = np.abs(np.subtract(Georeference(transform=found.transform).pixels(*ground), corners)).max(axis=1)
    if not apart.max() <= MOST_PIXELS_APART:
        raise InputError(
            f"{named}: their corners lie up to {apart[0]:.1f} rows and {apart[1]:.1f} columns apart; "
            "warp one to the other's grid"
        )


def _values(truth: Path, real: NDArray[np.generic], known: Bool) -> set[int]:
    """The values of known pixels. Raises InputError for others than 0, 1 and 255."""
    values = np.unique(real[known]).tolist()
    for value in values:
        if value not in (0, 1, NODATA):
            raise InputError(f"the truth {truth} holds {value}; it is made of 0, 1 (landslide) and 255 (not known)")
    return {int(value) for value in values}
