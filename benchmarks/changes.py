"""Where a series changes its level: throttling, found in clocks and rates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calanddet.benchmarks.quantiles import Floats, block_length, ranks

__all__ = ["Change", "find_changes"]

SHORTEST = 5
"""Fewest samples on either side of a change."""
SIGNIFICANCE = 0.01
PERMUTATIONS = 500


@dataclass(frozen=True, slots=True)
class Change:
    """From sample `index` on the level is `after`, `before` until then (medians); p: chance of it without a change."""

    index: int
    before: float
    after: float
    p: float

    @property
    def drop(self) -> float:
        """Share of the level that was lost; negative where it rose."""
        return 1.0 - self.after / self.before if self.before else 0.0


def find_changes(series: Sequence[float], *, least: float = 0.03, seed: int = 0) -> list[Change]:
    """Changes of level of at least the share `least`, in order.

    Two medians are fitted, and Pettitt's rank statistic (1979, Applied Statistics 28) says whether one would do. Its
    distribution comes from permuting blocks of neighbours of what the two levels leave, since samples of a machine are
    not independent; both sides are then searched in the same way (binary segmentation).
    """
    values = np.asarray(series, np.float64)
    found: list[Change] = []
    _search(values, 0, least, np.random.default_rng(seed), found)
    return sorted(found, key=lambda change: change.index)


def _search(values: Floats, offset: int, least: float, random: np.random.Generator, found: list[Change]) -> None:
    if len(values) < 2 * SHORTEST:
        return
    height, place = _pettitt(values), _place(values)
    before, after = float(np.median(values[:place])), float(np.median(values[place:]))
    change = Change(offset + place, before, after, _chance(values, place, height, random))
    if change.p > SIGNIFICANCE or abs(change.drop) < least:
        return
    found.append(change)
    _search(values[:place], offset, least, random, found)
    _search(values[place:], offset + place, least, random, found)


def _pettitt(values: Floats) -> float:
    """The greatest height of the statistic |2 R_t - t (n + 1)|, R_t the sum of the first t ranks."""
    count = len(values)
    heights = np.abs(2.0 * np.cumsum(ranks(values))[:-1] - np.arange(1, count) * (count + 1))
    return float(heights[SHORTEST - 1 : count - SHORTEST].max())


def _place(values: Floats) -> int:
    """The first index of the later level: where two medians leave the least absolute deviation."""
    places = range(SHORTEST, len(values) - SHORTEST + 1)
    costs = [_deviation(values[:place]) + _deviation(values[place:]) for place in places]
    return places[int(np.argmin(costs))]


def _deviation(values: Floats) -> float:
    return float(np.abs(values - np.median(values)).sum())


def _chance(values: Floats, place: int, height: float, random: np.random.Generator) -> float:
    """Share of series without a change in which the statistic is as high."""
    rest = values.copy()
    rest[:place] -= np.median(values[:place])
    rest[place:] -= np.median(values[place:])
    length = block_length(rest)
    blocks = [rest[start : start + length] for start in range(0, len(rest), length)]
    higher = 0
    for _ in range(PERMUTATIONS):
        order = random.permutation(len(blocks))
        higher += _pettitt(np.concatenate([blocks[number] for number in order])) >= height
    return (higher + 1) / (PERMUTATIONS + 1)
