"""How many times as long B takes as A: an interval of the ratio, and what it says about a change that matters.

Rounds in which both were measured side by side are compared round by round: what disturbs the machine for longer than
a round disturbs both. Without common rounds only the medians can be compared, each with its own uncertainty.
"""

from collections.abc import Sequence
from enum import Enum
from math import inf

import numpy as np

from calanddet.benchmarks.quantiles import FEWEST, LEVEL, Floats, Interval, block_length, quantile_interval, resamples
from calanddet.runtime.errors import OptionError

__all__ = ["Verdict", "judge", "paired_ratio", "unpaired_ratio"]


class Verdict(str, Enum):
    """What an interval of the ratio of times B / A says, given a tolerance."""

    slower = "slower"
    faster = "faster"
    same = "same"
    unclear = "unclear"
    missing = "missing"


def paired_ratio(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], *, seed: int = 0) -> Interval:
    """Median over rounds of median(B) / median(A) in the round; a, b: seconds, a list a round, as many rounds each.

    Rounds that one of them lacks (it failed midway) are left out. Raises OptionError where no round is common.
    """
    ratios = [float(np.median(right) / np.median(left)) for left, right in zip(a, b, strict=False) if left and right]
    if not ratios:
        raise OptionError("the two were never measured in one round")
    return quantile_interval(ratios, 0.5, seed=seed)


def unpaired_ratio(a: Sequence[float], b: Sequence[float], *, seed: int = 0) -> Interval:
    """Ratio of the medians of two rows of seconds that were not measured side by side."""
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(left), len(right)) < FEWEST:
        return Interval(float(np.median(right) / np.median(left)), 0.0, inf)
    medians = [_medians(values, seed + number) for number, values in enumerate((left, right))]
    low, high = np.quantile(medians[1] / medians[0], [(1.0 - LEVEL) / 2, (1.0 + LEVEL) / 2])
    return Interval(float(np.median(right) / np.median(left)), float(low), float(high))


def _medians(values: Floats, seed: int) -> Floats:
    drawn = resamples(len(values), block_length(values), seed=seed)
    medians: Floats = np.median(values[drawn], axis=1)
    return medians


def judge(ratio: Interval, tolerance: float) -> Verdict:
    """Slower (faster) where the whole interval lies beyond 1 + tolerance (below 1 - tolerance), same where it lies
    between, else unclear: the samples do not suffice to say."""
    if not 0.0 < tolerance < 1.0:
        raise OptionError(f"the tolerance is a share between 0 and 1, such as 0.02, not {tolerance:g}")
    if ratio.low > 1.0 + tolerance:
        return Verdict.slower
    if ratio.high < 1.0 - tolerance:
        return Verdict.faster
    if ratio.low >= 1.0 - tolerance and ratio.high <= 1.0 + tolerance:
        return Verdict.same
    return Verdict.unclear
