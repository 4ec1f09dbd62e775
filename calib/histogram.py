"""The distribution of an activation, collected as it streams by, in a size that does not grow."""

from math import frexp

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import ModelError

__all__ = ["HALF", "Histogram"]

HALF = 4096
"""Bins on either side of 0; the larger side fills at least half of its own."""
_LEAST_EXPONENT = -60


class Histogram:
    """Counts of values in bins [k w, (k + 1) w), k = -HALF .. HALF - 1, with w a power of two.

    w is the smallest one that all values fit into. When a larger value comes, pairs of bins are joined until it fits;
    bins of powers of two nest, so the counts are those that the final width would have given from the start, in
    whatever order the values came.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(2 * HALF, np.int64)
        self.low = self.high = 0.0
        self._exponent = _LEAST_EXPONENT

    @property
    def width(self) -> float:
        """Of a bin."""
        return 2.0**self._exponent

    @property
    def total(self) -> int:
        """Values counted."""
        return int(self.counts.sum())

    def add(self, values: NDArray[np.floating]) -> None:
        """Count values of any shape, float16 or float32. Raises ModelError where one is not finite."""
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise ModelError("it holds NaN or infinity")
        self.low, self.high = min(self.low, low), max(self.high, high)
        peak = max(-low, high)
        needed = frexp(peak)[1] - (HALF.bit_length() - 1)
        if peak and needed > self._exponent:  # zeros alone fit into bins of any width
            self._widen(needed)
        scaled = np.multiply(values, np.float32(2.0**-self._exponent), dtype=np.float32)
        bins = np.floor(scaled, out=scaled).astype(np.int64).ravel()
        bins += HALF
        # -w HALF itself is in the first bin; rounding cannot lead out of the last, as scaling by a power of 2 is exact.
        self.counts += np.bincount(bins, minlength=2 * HALF)

    def centres(self) -> NDArray[np.float64]:
        """Middle of each bin, float64 (2 HALF,)."""
        return np.asarray((np.arange(-HALF, HALF) + 0.5) * self.width, np.float64)

    def magnitudes(self) -> NDArray[np.int64]:
        """Counts of |x| in bins [k w, (k + 1) w), k = 0 .. HALF - 1, int64 (HALF,)."""
        return self.counts[HALF:] + self.counts[HALF - 1 :: -1]

    def _widen(self, exponent: int) -> None:
        shift = exponent - self._exponent
        nested = (np.arange(-HALF, HALF) >> min(shift, HALF.bit_length())) + HALF
        self.counts = np.bincount(nested, weights=self.counts, minlength=2 * HALF).astype(np.int64)
        self._exponent = exponent
