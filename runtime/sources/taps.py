"""Which pixels a resampled pixel is made of, along one axis, in whole numbers: the same bytes for every window."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["Taps", "mixed"]

Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """index: (n, k), the input pixels of n output pixels; weights: int32, (n, k), of each; whole: their sum where all
    of them exist.

    With `factor` input pixels to one output pixel, output pixel i covers those from i * factor to (i + 1) * factor.
    From 1 on its value is their mean, each counted by its share; below 1 it lies on the straight line between the
    centres of two.
    """

    index: NDArray[np.int64]
    weights: Numbers
    whole: int

    @classmethod
    def of(cls, factor: Fraction, start: int, stop: int, length: int) -> "Taps":
        """For output pixels `start` to `stop` of an input of `length` pixels."""
        out = np.arange(start, stop, dtype=np.int64)[:, None]
        index, weights = _means(factor, out) if factor >= 1 else _lines(factor, out)
        if factor >= 1:
            weights = np.where(index < length, weights, 0)
        used = np.flatnonzero(weights.any(axis=0))
        whole = factor.numerator if factor >= 1 else 2 * factor.denominator
        return cls(np.clip(index[:, used], 0, length - 1), weights[:, used].astype(np.int32), whole)

    @property
    def first(self) -> int:
        """The first input pixel that is needed."""
        return int(self.index.min())

    @property
    def stop(self) -> int:
        """The input pixel after the last one that is needed."""
        return int(self.index.max()) + 1


def mixed(values: NDArray[np.generic], rows: Taps, cols: Taps) -> Numbers:
    """Weighted sums, int32, (rows, cols, C), of `values`, uint8 or bool, (H, W, C), from the first pixel of both taps
    on. Sums of whole numbers: either axis may come first, and that is the one that leaves less to do for the columns.
    """
    if len(rows.index) <= len(values):
        return _along(_along(values, rows, 0), cols, 1)
    return _along(_along(values, cols, 1), rows, 0)


def _along(values: NDArray[np.generic], taps: Taps, axis: int) -> Numbers:
    """Weighted sums along one axis of (H, W, C)."""
    shape = list(values.shape)
    shape[axis] = len(taps.index)
    sums, part = np.zeros(shape, np.int32), np.empty(shape, np.int32)
    for index, weight in zip((taps.index - taps.first).T, taps.weights.T, strict=True):
        weights = np.expand_dims(weight, (1, 2) if axis == 0 else (0, 2))
        np.multiply(np.take(values, index, axis=axis), weights, out=part)
        sums += part
    return sums


def _means(factor: Fraction, out: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """In units of 1 / denominator of a pixel, so that shares are whole numbers."""
    large, unit = factor.numerator, factor.denominator
    low, high = out * large, (out + 1) * large
    index = low // unit + np.arange(-(-large // unit) + 1)
    share = np.minimum(high, (index + 1) * unit) - np.maximum(low, index * unit)
    return index, np.maximum(share, 0)


def _lines(factor: Fraction, out: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Centre i + 1/2 of the output is centre (i + 1/2) * factor - 1/2 of the input, in units of 1 / (2 denominator)."""
    unit = 2 * factor.denominator
    centre = (2 * out + 1) * factor.numerator - factor.denominator
    index = centre // unit
    beyond = centre - index * unit
    return index + np.arange(2), np.concatenate([unit - beyond, beyond], axis=1)
