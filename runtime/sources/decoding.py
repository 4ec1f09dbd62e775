"""What GDAL has to remember so that a raster that is read in strips is decoded once."""

import re

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

__all__ = ["ROWS_AT_ONCE", "decoded_bytes"]

ROWS_AT_ONCE = 512
"""Rows of a raster that are read at a time, at most; strips end where blocks of up to so many rows do."""
_USUAL_ROWS = 512
"""Of the blocks of a mosaic's parts, where it does not say."""
_BAND = re.compile(r"<VRTRasterBand\b.*?</VRTRasterBand>", re.DOTALL)
_BLOCK_ROWS = re.compile(r'\bBlockYSize="(\d+)"')
_PLACE = re.compile(r"<DstRect\b[^>]*>")
_SIDE = re.compile(r'\b(yOff|xSize|ySize)="([-+.\deE]+)"')


def decoded_bytes(dataset: DatasetReader, band: int) -> int:
    """Bytes of decoded blocks that lie in two strips, of all bands and the mask; 0 where strips end on their borders.

    Blocks higher than a strip are read in parts. Those of a mosaic's parts (VRT) lie anywhere: while a strip is read
    from one row of them and the next, both have to stay.
    """
    height, width = (int(side) for side in dataset.shape)
    rows, cols = int(dataset.block_shapes[band - 1][0]), width
    if dataset.driver == "VRT":
        first = _BAND.search("".join(dataset.tags(ns="xml:VRT").values()))
        text = "" if first is None else first[0]
        rows = 2 * max((int(number) for number in _BLOCK_ROWS.findall(text)), default=_USUAL_ROWS)
        cols = min(_widest(text, width), width)
    elif rows <= ROWS_AT_ONCE:
        return 0
    masked = MaskFlags.per_dataset in dataset.mask_flag_enums[band - 1]
    pixel = sum(_item_bytes(dtype) for dtype in dataset.dtypes) + masked
    return min(rows, height) * cols * pixel


def _widest(text: str, width: int) -> int:
    """Most columns that the parts of a mosaic have in one of its rows, each counted for itself; `width` if not told."""
    places = [{name: float(value) for name, value in _SIDE.findall(each)} for each in _PLACE.findall(text)]
    if not places or any(len(place) < 3 for place in places):
        return width
    begin = np.array([[place["yOff"], place["xSize"]] for place in places])
    end = np.array([[place["yOff"] + place["ySize"], -place["xSize"]] for place in places])
    events = np.concatenate([begin, end])
    order = np.lexsort((events[:, 1], events[:, 0]))  # where one ends and another begins, the end comes first
    return int(np.ceil(np.cumsum(events[order, 1]).max()))


def _item_bytes(dtype: str) -> int:
    bits = re.search(r"\d+$", dtype)
    return max(1, int(bits[0]) // 8) if bits else 8
