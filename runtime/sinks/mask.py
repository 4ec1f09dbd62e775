"""The mask of landslides whose pixels their own probability does not tell, drawn from their outlines."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from calanddet.runtime.polygons import Cover, Groups
from calanddet.runtime.sinks.cog import CogLook, Grid, MapRasters
from calanddet.runtime.spec import NODATA, SCALE
from calanddet.runtime.types import Bytes

__all__ = ["draw_mask"]

PIXELS_AT_ONCE = 1 << 22
HALF = SCALE // 2


def draw_mask(
    path: Path,
    look: tuple[Grid, Mapping[str, str]],
    groups: Groups,
    bands: Iterator[tuple[int, Bytes]],
    *,
    threads: int,
) -> None:
    """Write the mask raster `path`: 1 inside the outlines of `groups`, 0 outside, 255 where `bands` have nodata.

    look: its grid and tags; bands: (row, uint8 (h, W)) of the whole map, from the top. In its overviews a pixel is
    landslide where at least half of what it shows is, nodata left out. Holds the outlines that reach the current row.
    Raises OSError when the disk is full, OutputError where the file does not read back.
    """
    grid, tags = look
    cover, step = Cover(groups, grid.width), max(1, PIXELS_AT_ONCE // grid.width)
    with closing(MapRasters(grid, {path: CogLook.mask(HALF, tags)}, threads=threads)) as rasters:
        for top, band in bands:
            for row in range(0, len(band), step):
                part = band[row : row + step]
                drawn = cover.draw(top + row, len(part))
                rasters.write(np.where(part == NODATA, np.uint8(NODATA), drawn * np.uint8(SCALE)))
        rasters.finish()
