"""One linear stretch for a whole dataset: how 16-bit and floating-point imagery becomes the network's bytes."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import OptionError
from calanddet.runtime.types import Bytes

__all__ = ["PERCENTILES", "Stretch"]

PERCENTILES = (2.0, 98.0)
"""The share of the sample, in percent, that falls below black and below white."""

MIDDLE_GRAY = 128
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Stretch:
    """A value v becomes floor(255 (v - low) / (high - low) + 0.5), clipped to 0..255; a NaN becomes 0.

    low and high are common to the three bands: the proportions between red, green and blue are what the network was
    trained on, and limits of their own would turn every scene gray on average. With low equal to high (a constant
    image) everything becomes middle gray.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high) and self.low <= self.high):
            raise OptionError(f"a stretch needs finite, ordered limits, not {self.low} and {self.high}")

    def __str__(self) -> str:
        return f"{self.low:.9g}..{self.high:.9g} to 0..255"

    @classmethod
    def from_sample(cls, bands: Iterable[NDArray[Any]], *, percentiles: tuple[float, float] = PERCENTILES) -> "Stretch":
        """The stretch between two percentiles of a sample, all bands together.

        bands: the valid values of each band, any real dtype and shape; NaN and infinities are left out. Where the two
        percentiles coincide, the extremes of the sample stand in for them. Raises OptionError for an empty sample.
        """
        lower, upper = percentiles
        if not 0.0 <= lower < upper <= 100.0:
            raise OptionError(f"percentiles must increase within 0..100, not {lower} and {upper}")
        values = np.concatenate([np.empty(0), *(np.asarray(band, np.float64).ravel() for band in bands)])
        values = values[np.isfinite(values)]
        if not values.size:
            raise OptionError("a stretch cannot be taken from a sample without a finite value")
        low, high = (float(limit) for limit in np.percentile(values, (lower, upper)))
        if low == high:
            low, high = float(values.min()), float(values.max())
        return cls(low, high)

    def apply(self, values: NDArray[Any]) -> Bytes:
        """The bytes, uint8, of `values`, any real dtype and shape; the same on every machine and for every shape."""
        look_up: Bytes | None = None
        if values.dtype in (np.uint16, np.int16):
            look_up = self._bytes(np.arange(1 << 16, dtype=np.uint16).view(values.dtype))
            values = values.view(np.uint16)
        out = np.empty(values.shape, np.uint8)
        source, target = values.reshape(-1), out.reshape(-1)
        # In chunks that stay in the cache: neither float64 levels nor indices ever have the size of a strip.
        for start in range(0, source.size, _CHUNK):
            chunk = source[start : start + _CHUNK]
            target[start : start + _CHUNK] = self._bytes(chunk) if look_up is None else look_up[chunk]
        return out

    def _bytes(self, values: NDArray[Any]) -> Bytes:
        if self.low == self.high:
            return np.full(values.shape, MIDDLE_GRAY, np.uint8)
        with np.errstate(over="ignore", invalid="ignore"):
            level = values.astype(np.float64)
            level -= self.low
            level *= 255.0 / (self.high - self.low)
            level += 0.5
        # fmax and fmin pass over NaN, which thereby ends at 0.
        np.fmax(level, 0.0, out=level)
        np.fmin(level, 255.0, out=level)
        return level.astype(np.uint8)
