"""Pixels by truth and probability byte: the counts at every threshold at once."""

from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calanddet.runtime.errors import OptionError
from calanddet.runtime.metrics import Counts
from calanddet.runtime.spec import NODATA, SCALE, threshold_byte
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Curve", "Histogram", "OperatingPoint", "threshold_of"]

_CHUNK = 1 << 20
"""Pixels that are counted at a time: NumPy counts in 8 bytes a pixel."""


def threshold_of(byte: int) -> float:
    """A threshold of four decimals whose `threshold_byte` is `byte`, 1 to 254: byte / 254 rounded down.

    >>> threshold_of(127)
    0.5
    """
    return floor(10_000 * byte / SCALE) / 10_000


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The counts where bytes of `byte` and above are landslide."""

    byte: int
    counts: Counts

    @property
    def threshold(self) -> float:
        """The probability that stands for the byte, see `threshold_of`."""
        return threshold_of(self.byte)


@dataclass(frozen=True, slots=True)
class Curve:
    """The operating points of bytes 1 to 254, in order."""

    points: tuple[OperatingPoint, ...]

    @property
    def best(self) -> OperatingPoint:
        """The point of the highest IoU; of equal ones, the one nearest to the byte 127 of the threshold 0.5."""
        return max(self.points, key=lambda point: (point.counts.iou, -abs(point.byte - threshold_byte(0.5))))


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """bins: int64, (2, 255), pixels by truth (0, 1) and probability byte; adding two counts both sets together."""

    bins: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.bins.shape != (2, NODATA) or self.bins.dtype != np.int64:
            raise OptionError(f"a histogram is int64 (2, {NODATA}), not {self.bins.dtype} {self.bins.shape}")

    @classmethod
    def empty(cls) -> "Histogram":
        """No pixel."""
        return cls(np.zeros((2, NODATA), np.int64))

    @classmethod
    def of(cls, probability: Bytes, truth: ArrayLike, *, valid: Bool | None = None) -> "Histogram":
        """Count an image; the byte 255 (nodata) is not counted.

        probability: uint8, any shape, floor(254 p); truth: the same shape, landslide where not 0; valid: bool, the
        same shape, False where pixels are not counted. Raises OptionError when shapes differ.
        """
        wanted = np.asarray(truth) != 0
        known = probability != NODATA if valid is None else valid & (probability != NODATA)
        if not probability.shape == wanted.shape == known.shape:
            raise OptionError(f"prediction {probability.shape} and truth {wanted.shape} must have one shape")
        bins = np.zeros((2, NODATA + 1), np.int64)
        flat = (array.reshape(-1) for array in (probability, wanted, known))
        found, true, counted = (np.array_split(array, max(1, array.size // _CHUNK)) for array in flat)
        for some_found, some_true, some_counted in zip(found, true, counted, strict=True):
            index = some_true.astype(np.uint16) * np.uint16(NODATA + 1) + some_found
            bins += np.bincount(index[some_counted], minlength=bins.size).reshape(bins.shape)
        return cls(np.ascontiguousarray(bins[:, :NODATA]))

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(self.bins + other.bins)

    def at(self, threshold: float) -> Counts:
        """The counts at a threshold, as `metrics.count` gives them. Raises OptionError outside (0, 1]."""
        return self.at_byte(threshold_byte(threshold))

    def at_byte(self, byte: int) -> Counts:
        """The counts where bytes of `byte` and above are landslide."""
        (tn, fp), (fn, tp) = ((int(row[:byte].sum()), int(row[byte:].sum())) for row in self.bins)
        return Counts(tp, fp, fn, tn)

    def curve(self) -> Curve:
        """The counts at every threshold that there is."""
        above = self.bins[:, ::-1].cumsum(axis=1)[:, ::-1]
        (negatives, positives) = (int(total) for total in above[:, 0])
        points = [
            OperatingPoint(byte, Counts(tp, fp, positives - tp, negatives - fp))
            for byte, (fp, tp) in enumerate(above.T.tolist())
            if byte
        ]
        return Curve(tuple(points))
