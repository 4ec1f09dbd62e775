"""A colour table: one band of indices that stands for three of colours."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources.bands import BandChoice
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Palette"]


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Colours of every index that the band's dtype can hold.

    table: uint8, (3, N), rows red, green, blue; visible: bool, (N,), False where an entry is transparent, is the
    raster's nodata value, or does not exist.
    """

    table: Bytes
    visible: Bool

    @classmethod
    def of(cls, dataset: DatasetReader, path: str, choice: BandChoice) -> "Palette":
        """The colour table of the chosen band. Raises InputError unless its indices are uint8 or uint16."""
        band = choice.rgb[0]
        dtype = dataset.dtypes[band - 1]
        if dtype not in ("uint8", "uint16"):
            raise InputError(f"{path} has a colour table on {dtype} indices: convert it to RGB with `gdal_translate`")
        size = int(np.iinfo(dtype).max) + 1
        table, visible = np.zeros((3, size), np.uint8), np.zeros(size, np.bool_)
        for index, (*colour, alpha) in dataset.colormap(band).items():
            if index < size and index != dataset.nodatavals[band - 1]:
                table[:, index] = colour
                visible[index] = alpha > 0
        return cls(table, visible)

    def colours(self, index: NDArray[Any]) -> Bytes:
        """uint8, (3, H, W), the colours of `index`, uint8 or uint16, (H, W)."""
        colours = np.empty((3, *index.shape), np.uint8)
        for plane, shades in zip(colours, self.table, strict=True):
            _look_up(shades, index, plane)
        return colours

    def shown(self, index: NDArray[Any]) -> Bool:
        """bool, (H, W), whether the entries of `index` are opaque."""
        shown = np.empty(index.shape, np.bool_)
        _look_up(self.visible, index, shown)
        return shown


def _look_up(table: NDArray[Any], index: NDArray[Any], out: NDArray[Any]) -> None:
    # Row by row: NumPy widens indices to 8 bytes each, which must not happen to a whole strip.
    for target, row in zip(out, index, strict=True):
        target[...] = table[row]
