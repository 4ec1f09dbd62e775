"""An image that is already in memory, as a source."""

import numpy as np

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.sources.protocol import SourceInfo
from calanddet.runtime.types import Bool, Bytes, Pixels, Window

__all__ = ["ArraySource"]


class ArraySource:
    """uint8, (H, W, 3), RGB; `valid`, bool, (H, W), says where there is an image, everywhere where it is not given."""

    def __init__(self, rgb: Bytes, *, valid: Bool | None = None, georeference: Georeference | None = None) -> None:
        """Raises InputError for another dtype or shape."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise InputError(f"an image is a uint8 array (height, width, 3) in RGB, not {rgb.dtype} {rgb.shape}")
        if valid is not None and (valid.shape != rgb.shape[:2] or valid.dtype != np.bool_):
            raise InputError(f"valid is a bool array {rgb.shape[:2]}, not {valid.dtype} {valid.shape}")
        self._rgb = rgb if valid is None else rgb * valid[..., None]
        self._valid = np.ones(rgb.shape[:2], np.bool_) if valid is None else valid
        self.info = SourceInfo(
            path="<array>",
            name="array",
            shape=(rgb.shape[0], rgb.shape[1]),
            georeference=georeference or Georeference(),
            dtype="uint8",
            bands=(1, 2, 3),
            block=(1, rgb.shape[1]),
            gsd_m=None,
            stretch=None,
            identity={},
            notes=(),
        )

    def read(self, window: Window) -> Pixels:
        """See Source.read."""
        height, width = self.info.shape
        rgb = np.zeros((window.height, window.width, 3), np.uint8)
        valid = np.zeros((window.height, window.width), np.bool_)
        top, left = max(window.row, 0), max(window.col, 0)
        bottom, right = min(window.stop_row, height), min(window.stop_col, width)
        if top < bottom and left < right:
            here = np.s_[top - window.row : bottom - window.row, left - window.col : right - window.col]
            rgb[here] = self._rgb[top:bottom, left:right]
            valid[here] = self._valid[top:bottom, left:right]
        return Pixels(rgb, valid)

    def thumbnail(self, longest: int) -> Pixels:
        """See Source.thumbnail; every n-th pixel."""
        if longest <= 0:
            raise OptionError(f"a thumbnail needs a positive size, not {longest}")
        step = max(1, -(-max(self.info.shape) // longest))
        return Pixels(np.ascontiguousarray(self._rgb[::step, ::step]), self._valid[::step, ::step].copy())

    def close(self) -> None:
        """Nothing to release."""
