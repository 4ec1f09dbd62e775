"""The nouns that flow through the stream: Window, Pixels, Prediction."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bool", "Bytes", "Pixels", "Prediction", "Window"]

Bytes: TypeAlias = NDArray[np.uint8]
Bool: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels, rows first; `row` and `col` may lie outside the raster that it is read from."""

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height <= 0 or self.width <= 0:
            raise ValueError(f"a window needs a positive size, not {self.height} x {self.width}")

    @property
    def stop_row(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def stop_col(self) -> int:
        """First column right of the window."""
        return self.col + self.width


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """What a source gives for a window.

    rgb: uint8, (H, W, 3), RGB, zero where not valid; valid: bool, (H, W), False under nodata, alpha 0 or a mask.
    context: rgb also has the colours around an area of interest, which a network shall see and nobody is told of.
    """

    rgb: Bytes
    valid: Bool
    context: bool = False

    def __post_init__(self) -> None:
        if self.rgb.shape != (*self.valid.shape, 3):
            raise ValueError(f"rgb {self.rgb.shape} and valid {self.valid.shape} do not belong together")


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What an engine gives for a batch of N tiles of side T.

    probability: uint8, (N, T, T), floor(254 p); presence: float32, (N,), probability of any landslide in the tile.
    """

    probability: Bytes
    presence: NDArray[np.float32]
