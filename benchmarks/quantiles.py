"""Quantiles of what was measured, each with an interval that knows how many samples it comes from and how they drift.

Resampling is in blocks of neighbouring samples: on a real machine samples are not independent (clocks, caches and
neighbours come and go), and intervals from single samples would be too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calanddet.runtime.errors import OptionError

__all__ = ["Floats", "Interval", "block_length", "enough_for", "quantile", "quantile_interval", "ranks", "resamples"]

Floats = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 1000
FEWEST = 6
"""Samples below which no interval of the median holds with 95 %: the true one lies outside of all n samples with a
chance of 2^(1 - n)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the interval that holds the true value in `LEVEL` of all repetitions; 0 to infinity where there
    are too few samples to give one."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there were samples enough."""
        return isfinite(self.high)

    @property
    def half_width(self) -> float:
        """Half of the interval as a share of the value."""
        return (self.high - self.low) / 2 / abs(self.value) if self.value else float("inf")

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]" if self.known else f"{self.value:.4g}"


def quantile(samples: ArrayLike, q: float) -> float:
    """The q-quantile, linear between order statistics (type 7 of Hyndman and Fan 1996, NumPy's own)."""
    values = _values(samples)
    return float(np.quantile(values, q))


def enough_for(count: int, q: float) -> bool:
    """Whether at least one of `count` samples is expected beyond the q-quantile; below that it is only the maximum."""
    return count * (1.0 - q) >= 1.0 - 1e-9


def quantile_interval(samples: ArrayLike, q: float, *, seed: int = 0) -> Interval:
    """The q-quantile with its bootstrap percentile interval over circular blocks; the same seed, the same interval.

    A quantile takes no notice of how far outliers lie out, and so neither does its interval, as long as they are
    fewer than 1 - q. Raises OptionError for no samples, or values that are not finite.
    """
    values = _values(samples)
    if len(values) < FEWEST:
        return Interval(quantile(values, q), 0.0, inf)
    drawn = resamples(len(values), block_length(values), seed=seed)
    estimates = np.quantile(values[drawn], q, axis=1)
    low, high = np.quantile(estimates, [(1.0 - LEVEL) / 2, (1.0 + LEVEL) / 2])
    return Interval(quantile(values, q), float(low), float(high))


def block_length(samples: ArrayLike) -> int:
    """Samples in a block: Carlstein's rule for a first-order autoregression, (sqrt(6) r / (1 - r^2))^(2/3) n^(1/3).

    (Carlstein 1986, Annals of Statistics 14.) The correlation r of neighbours is that of ranks, so that a few outliers
    do not hide it; at most a fifth of the samples.
    """
    values = _values(samples)
    count = len(values)
    if count < 10:
        return 1
    places = ranks(values)
    places -= places.mean()
    scale = float((places**2).sum())
    r = min(float((places[1:] * places[:-1]).sum()) / scale, 0.97) if scale else 0.0
    if r <= 0.0:
        return 1
    length: int = ceil((sqrt(6.0) * r / (1.0 - r * r)) ** (2 / 3) * count ** (1 / 3))
    return min(length, count // 5)


def ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: Floats = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    return means


def resamples(count: int, block: int, *, seed: int, rounds: int = RESAMPLES) -> NDArray[np.int64]:
    """Indices of bootstrap samples, (rounds, count): circular blocks of `block` neighbours at random places."""
    random = np.random.default_rng(seed)
    blocks = -(-count // block)
    starts = random.integers(0, count, (rounds, blocks))
    places = (starts[:, :, None] + np.arange(block)) % count
    return places.reshape(rounds, blocks * block)[:, :count]


def _values(samples: ArrayLike | Sequence[float]) -> Floats:
    values = np.asarray(samples, np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise OptionError(f"statistics need a row of finite numbers, not {values.size} of shape {values.shape}")
    return values
