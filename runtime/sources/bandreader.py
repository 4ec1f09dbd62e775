"""Raw values and stored masks of the bands that matter, without a copy more than needed."""

from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window as GdalWindow

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources.bands import BandChoice
from calanddet.runtime.sources.opening import gdal_errors
from calanddet.runtime.sources.remote import Place, is_url
from calanddet.runtime.sources.validity import Validity
from calanddet.runtime.types import Bytes, Window

__all__ = ["BandReader", "Raw"]


class Raw(NamedTuple):
    """What a file holds for a window, before it is made into bytes.

    planes: (B, H, W), the colours (three, or one of indices into a palette), then alpha where there is one; overwritten
    by the reader's next load; zero where all of the window is masked. stored: uint8, (H, W), the file's mask, 0 where
    not valid; None where it has none.
    """

    planes: NDArray[Any]
    stored: Bytes | None


class BandReader:
    """Reads the chosen bands of one dtype, with alpha and mask, into a buffer that is kept between loads."""

    def __init__(self, dataset: DatasetReader, path: Place, choice: BandChoice, validity: Validity) -> None:
        self._dataset, self._path = dataset, path
        alpha = () if validity.alpha is None else (validity.alpha,)
        self._bands = [*(choice.rgb[:1] if choice.palette else choice.rgb), *alpha]
        self._masks = list(validity.stored)
        self.dtype: np.dtype[Any] = np.dtype(dataset.dtypes[choice.rgb[0] - 1])
        self.shape: tuple[int, int] = dataset.shape
        self.block: tuple[int, int] = dataset.block_shapes[choice.rgb[0] - 1]
        self._buffer: NDArray[Any] = np.empty(0, self.dtype)

    def load(self, window: Window, shape: tuple[int, int] | None = None) -> Raw:
        """The raw values of a window inside the raster, by nearest pixel where `shape` (rows, cols) is not its own.

        Raises InputError, naming the window, when the file cannot be read there.
        """
        area = GdalWindow(window.col, window.row, window.width, window.height)
        return self._load(area, shape or (window.height, window.width))

    def load_rows(self, start: float, stop: float, shape: tuple[int, int]) -> Raw:
        """As `load`, of all columns between two fractions of rows, for a smaller picture put together from parts."""
        return self._load(GdalWindow(0, start, self.shape[1], stop - start), shape)

    def close(self) -> None:
        """Release the file and the buffer; idempotent."""
        self._dataset.close()
        self._buffer = np.empty(0, self.dtype)

    def _load(self, area: GdalWindow, shape: tuple[int, int]) -> Raw:
        if self._dataset.closed:
            raise InputError(f"{self._path} cannot be read: it has been closed")
        blame = "was not given whole" if is_url(self._path) else "is truncated, corrupt, or refers to what is not there"
        complaint = (
            f"{self._path} {blame}: rows {int(area.row_off)} to "
            f"{ceil(area.row_off + area.height) - 1}, columns {area.col_off} to {area.col_off + area.width - 1} "
            "cannot be read"
        )
        with gdal_errors(complaint):
            planes, stored = self._planes(*shape), self._stored(area, shape)
            if stored is not None and not stored.any():
                planes.fill(0)  # where nothing is valid no colour is looked at: a mask is read faster than an image
            else:
                self._dataset.read(self._bands, window=area, out=planes)
        return Raw(planes, stored)

    def _stored(self, area: GdalWindow, shape: tuple[int, int]) -> Bytes | None:
        if not self._masks:
            return None
        masks: Bytes = self._dataset.read_masks(self._masks, window=area, out_shape=(len(self._masks), *shape))
        stored: Bytes = masks[0] if len(masks) == 1 else masks.max(axis=0)
        return stored

    def _planes(self, height: int, width: int) -> NDArray[Any]:
        size = len(self._bands) * height * width
        if self._buffer.size < size:
            self._buffer = np.empty(size, self.dtype)
        return self._buffer[:size].reshape(len(self._bands), height, width)
