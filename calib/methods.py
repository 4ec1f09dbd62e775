"""Four ways from the distribution of an activation to the range that eight bits cover.

minmax      all that was seen
percentile  all but a share of the values
entropy     the threshold whose 128 levels keep most information: least Kullback-Leibler divergence (S. Migacz, "8-bit
            Inference with TensorRT", GTC 2017)
mse         the range with the least mean squared error of rounding and clipping

Each gives a symmetric threshold T, for int8 over [-T, T], or two ends, for uint8 over [low, high], which hold 0.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calanddet.calib.histogram import HALF, Histogram
from calanddet.runtime.errors import OptionError

__all__ = ["METHODS", "Entropy", "Method", "MinMax", "Mse", "Percentile", "method_by_name"]

Ends = tuple[float, float]


class Method(Protocol):
    """A way to choose a range."""

    @property
    def name(self) -> str:
        """As the command line calls it."""
        ...

    def threshold(self, histogram: Histogram) -> float:
        """T >= 0, so that [-T, T] is to be covered."""
        ...

    def ends(self, histogram: Histogram) -> Ends:
        """(low, high) to be covered, low <= 0 <= high."""
        ...


@dataclass(frozen=True, slots=True)
class MinMax:
    """Everything that was seen, exactly."""

    name: str = "minmax"

    def threshold(self, histogram: Histogram) -> float:
        """The greatest magnitude."""
        return max(-histogram.low, histogram.high)

    def ends(self, histogram: Histogram) -> Ends:
        """The least and the greatest value, and 0."""
        return histogram.low, histogram.high


@dataclass(frozen=True, slots=True)
class Percentile:
    """All but a share of 1 - `kept` / 100 of the values, to within a bin; never more than was seen."""

    kept: float = 99.99
    name: str = "percentile"

    def __post_init__(self) -> None:
        if not 50.0 < self.kept <= 100.0:
            raise OptionError(f"a percentile is above 50 and at most 100, not {self.kept}")

    def threshold(self, histogram: Histogram) -> float:
        """Upper edge of the bin in which the cumulated magnitudes reach `kept` percent."""
        edge = _first_reaching(histogram.magnitudes(), self.kept / 100) * histogram.width
        return min(edge, MINMAX.threshold(histogram))

    def ends(self, histogram: Histogram) -> Ends:
        """Half of the share is left out on either side."""
        kept = 1 - (1 - self.kept / 100) / 2
        high = (_first_reaching(histogram.counts, kept) - HALF) * histogram.width
        low = (HALF - _first_reaching(histogram.counts[::-1], kept)) * histogram.width
        return max(min(low, 0.0), histogram.low), min(max(high, 0.0), histogram.high)


@dataclass(frozen=True, slots=True)
class Entropy:
    """The least divergence between the magnitudes, clipped at T, and what 128 levels over [0, T] can tell of them.

    For each candidate T = i w: P is the first i bins, with all that lies beyond added to the last one; Q spreads the
    sum of the first i bins in each of 128 equal groups evenly over those of the group's bins where P is not 0. Both are
    normalised, and the candidate with the least sum of P log(P / Q) wins, the first of equals. Where Q is 0 and P is
    not, which only clipping does, Q counts as `FLOOR`.
    """

    name: str = "entropy"

    def threshold(self, histogram: Histogram) -> float:
        """T, at most the greatest magnitude."""
        magnitudes = histogram.magnitudes()
        used = int(np.flatnonzero(magnitudes)[-1]) + 1 if magnitudes.any() else 0
        candidates = range(LEVELS, -(-used // STEP) * STEP + 1, STEP)
        if not candidates:
            return MINMAX.threshold(histogram)
        divergences = [_divergence(magnitudes, size) for size in candidates]
        return min(candidates[int(np.argmin(divergences))] * histogram.width, MINMAX.threshold(histogram))

    def ends(self, histogram: Histogram) -> Ends:
        """What was seen, clipped to [-T, T]."""
        threshold = self.threshold(histogram)
        return max(histogram.low, -threshold), min(histogram.high, threshold)


LEVELS = 128
"""Magnitudes that int8 tells apart."""
STEP = 16
"""Bins between candidates: thresholds are tried in steps of 0.4 to 0.8 % of the range that was seen."""
FLOOR = 1e-9
"""Share of Q in a bin to which it gives nothing although P does."""


def _divergence(magnitudes: NDArray[np.int64], size: int) -> float:
    inside = magnitudes[:size].astype(np.float64)
    p = inside.copy()
    p[-1] += magnitudes[size:].sum()
    groups = np.arange(size) * LEVELS // size
    there = p > 0
    members = np.bincount(groups[there], minlength=LEVELS)
    level = np.bincount(groups, weights=inside, minlength=LEVELS) / np.maximum(members, 1)
    q = np.where(there, level[groups], 0.0)
    if not q.any():
        return float("inf")
    p, q = p[there] / p.sum(), np.maximum(q[there] / q.sum(), FLOOR)
    return float(np.sum(p * np.log(p / q)))


@dataclass(frozen=True, slots=True)
class Mse:
    """The range with the least mean squared error, each bin standing for its centre.

    Tried are shares of what was seen: one hundred for T; for two ends, first both together, then each alone while the
    other stays, until neither gains.
    """

    name: str = "mse"

    def threshold(self, histogram: Histogram) -> float:
        """T for int8 levels -128 .. 127 times T / 127."""
        top = MINMAX.threshold(histogram)
        if not top:
            return 0.0
        values, weights = _filled(histogram)
        errors = [_error(values, weights, top * share / 127, -128, 127) for share in SHARES]
        return float(top * SHARES[int(np.argmin(errors))])

    def ends(self, histogram: Histogram) -> Ends:
        """Ends for uint8, with the zero point on a whole number."""
        if histogram.low == histogram.high:
            return histogram.low, histogram.high
        values, weights = _filled(histogram)

        def error(low: float, high: float) -> float:
            scale = (histogram.high * high - histogram.low * low) / 255
            zero = float(np.rint(-histogram.low * low / scale))
            return _error(values, weights, scale, -zero, 255 - zero)

        share = SHARES[int(np.argmin([error(share, share) for share in SHARES]))]
        low, high, best = share, share, error(share, share)
        while True:
            tried = [(error(one, high), one, high) for one in SHARES if histogram.low]
            tried += [(error(low, one), low, one) for one in SHARES if histogram.high]
            least = min(tried)
            if least[0] >= best:
                return float(histogram.low * low), float(histogram.high * high)
            best, low, high = least


SHARES = np.arange(100, 0, -1) / 100


def _filled(histogram: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and shares of the bins that hold something."""
    there = histogram.counts > 0
    return histogram.centres()[there], histogram.counts[there] / histogram.total


def _error(values: NDArray[np.float64], weights: NDArray[np.float64], scale: float, least: float, most: float) -> float:
    """Mean of (x - scale clip(round(x / scale), least, most))^2."""
    found = np.clip(np.rint(values / scale), least, most) * scale
    return float(np.dot(weights, (values - found) ** 2))


def _first_reaching(counts: NDArray[np.int64], share: float) -> int:
    """Bins, from the first on, that together hold at least `share` of all values; 0 where there are none."""
    total = int(counts.sum())
    if not total:
        return 0
    return int(np.searchsorted(np.cumsum(counts), share * total)) + 1


MINMAX = MinMax()
METHODS: dict[str, Method] = {one.name: one for one in (Entropy(), Percentile(), MINMAX, Mse())}
"""The methods by name, with their default parameters."""


def method_by_name(name: str) -> Method:
    """The method called `name`. Raises OptionError where there is none."""
    if name not in METHODS:
        raise OptionError(f"there is no method {name!r}; there are {', '.join(METHODS)}")
    return METHODS[name]
