"""How well a map agrees with the truth, read from their rasters in strips."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as GdalWindow

from calanddet.runtime.errors import InputError
from calanddet.runtime.metrics import Counts, count, pooled
from calanddet.runtime.spec import NODATA, SCALE

__all__ = ["compare_masks"]

STRIP_ROWS = 512


def compare_masks(mask: Path, truth: Path) -> Counts:
    """Pixel counts of a mask raster (0, 1, 255 not mapped) against a truth raster (landslide where not 0).

    Pixels that were not mapped are not counted. Raises InputError where a file cannot be read or the sizes differ.
    """
    try:
        with rasterio.open(mask) as found, rasterio.open(truth) as wanted:
            if found.shape != wanted.shape:
                raise InputError(f"{mask} has {found.shape} pixels and {truth} has {wanted.shape}: not the same scene")
            parts: list[Counts] = []
            for row in range(0, found.height, STRIP_ROWS):
                window = GdalWindow(0, row, found.width, min(STRIP_ROWS, found.height - row))
                seen = found.read(1, window=window)
                probability = np.where(seen == 1, np.uint8(SCALE), np.uint8(0))
                parts.append(count(probability, wanted.read(1, window=window), valid=seen != NODATA))
    except (RasterioError, OSError) as error:
        raise InputError(f"{mask} and {truth} cannot be compared: {error}") from error
    return pooled(parts)
