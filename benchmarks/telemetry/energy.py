"""Joules out of a trace: a counter's difference where there is one, else watts integrated over time."""

from collections.abc import Mapping, Sequence

import numpy as np

from calanddet.benchmarks.quantiles import Floats

__all__ = ["joules"]

HELD_S = 1.0
"""How far from its first or last reading a quantity is taken to go on as it was."""


def joules(
    values: Mapping[str, Sequence[tuple[float, float]]], total: Sequence[str], start: float, end: float
) -> float | None:
    """Energy between two moments of the clock, summed over the quantities `total` (`_w` or `_j`).

    Between readings watts change along a line, and counters rise along one. None where the readings of a quantity do
    not reach over the interval; a second may be missing at either end.
    """
    parts = [_joules(values.get(name, ()), name.endswith("_j"), start, end) for name in total]
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _joules(points: Sequence[tuple[float, float]], is_counter: bool, start: float, end: float) -> float | None:
    if not points or start < points[0][0] - HELD_S or end > points[-1][0] + HELD_S:
        return None
    moments, readings = np.asarray(points, np.float64).T
    if is_counter:
        return _rise(moments, readings, start, end)
    inside = moments[(moments > start) & (moments < end)]
    edges = np.concatenate([[start], inside, [end]])
    watts = np.interp(edges, moments, readings)
    return float((np.diff(edges) * (watts[1:] + watts[:-1]) / 2).sum())


def _rise(moments: Floats, readings: Floats, start: float, end: float) -> float | None:
    """A counter's rise; where readings end short of the interval, at the mean rate of those that there are."""
    first, last = max(start, float(moments[0])), min(end, float(moments[-1]))
    if last <= first:
        return None
    low, high = np.interp([first, last], moments, readings)
    return float(high - low) / (last - first) * (end - start)
