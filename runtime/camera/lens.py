"""A camera without distortion: from pixels to directions."""

from dataclasses import dataclass
from math import hypot, isfinite, radians, tan

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import OptionError

__all__ = ["Pinhole"]

Float = NDArray[np.float64]
FULL_FRAME_MM = hypot(36.0, 24.0)
"""Diagonal that a focal length "in 35 mm film" refers to."""
WIDEST_SENSOR = 1.6
"""Pictures with more columns a row are cut from a sensor of 4:3 or 3:2."""


@dataclass(frozen=True, slots=True)
class Pinhole:
    """shape: (rows, cols) of the picture; focal_px: focal length in pixels; the axis passes through the middle.

    Lens distortion is not undone: of a consumer drone's camera it moves the corners by one or two percent of their
    distance from the middle, which the relative error of the focal length in `Uncertainty` is made to cover.
    """

    shape: tuple[int, int]
    focal_px: float

    def __post_init__(self) -> None:
        if not (isfinite(self.focal_px) and self.focal_px > 0.0):
            raise OptionError(f"a focal length is a positive number of pixels, not {self.focal_px}")

    @classmethod
    def of_field_of_view(cls, shape: tuple[int, int], degrees: float) -> "Pinhole":
        """From the horizontal field of view. Raises OptionError unless it is above 0 and below 170 degrees."""
        if not 0.0 < degrees < 170.0:
            raise OptionError(f"a horizontal field of view lies between 0 and 170 degrees, not at {degrees:g}")
        return cls(shape, shape[1] / 2.0 / tan(radians(degrees) / 2.0))

    @classmethod
    def of_film_length(cls, shape: tuple[int, int], focal_35mm: float) -> "Pinhole":
        """From the focal length in 35 mm film, which compares diagonals (EXIF 2.32, tag 0xA405; CIPA DCG-001).

        A picture wider than any sensor is taken for the middle of one of 4:3 and the same width.
        """
        rows, cols = sorted(shape)
        if cols > WIDEST_SENSOR * rows:
            rows = round(cols * 3 / 4)
        return cls(shape, focal_35mm * hypot(rows, cols) / FULL_FRAME_MM)

    def directions(self, rows: Float, cols: Float) -> Float:
        """Through pixel corners at (row, col), float64, (V,): float64, (V, 3), x right, y down, z forward, z = 1."""
        height, width = self.shape
        x, y = (cols - width / 2.0) / self.focal_px, (rows - height / 2.0) / self.focal_px
        return np.stack([x, y, np.ones_like(x)], axis=-1)

    @property
    def outline(self) -> tuple[Float, Float]:
        """(rows, cols), float64, (32,) each, of points around the picture's edge, clockwise from its top left."""
        height, width = self.shape
        part = np.arange(8) / 8.0
        rows = np.concatenate([0.0 * part, part, 1.0 + 0.0 * part, 1.0 - part]) * height
        cols = np.concatenate([part, 1.0 + 0.0 * part, 1.0 - part, 0.0 * part]) * width
        return rows, cols
