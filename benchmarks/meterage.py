"""What the meters say about a stretch of time: energy, and readings thinned to what a plot can show."""

from collections.abc import Mapping, Sequence
from math import inf

import numpy as np

from calanddet.benchmarks.record import EnergyRecord
from calanddet.benchmarks.telemetry.energy import joules
from calanddet.benchmarks.telemetry.protocol import Meter
from calanddet.benchmarks.telemetry.sampler import Trace

__all__ = ["energy_of", "peaks_of", "readings_of", "snapshot"]

MOST_POINTS = 300
PEAKED = ("bytes", "w", "c")


def energy_of(
    trace: Trace, meters: Sequence[Meter], stretches: Sequence[tuple[float, float]], tiles: int
) -> list[EnergyRecord]:
    """Joules of each meter that covers something and was not lost, over all stretches (start, end) of the clock."""
    seconds = sum(end - start for start, end in stretches)
    last = max((end for _, end in stretches), default=0.0)
    found = []
    for meter in meters:
        if not meter.total or trace.lost_at.get((meter.name, meter.scope), inf) <= last:
            continue
        parts = [joules(trace.values, meter.total, start, end) for start, end in stretches]
        whole = [part for part in parts if part is not None]
        if whole and len(whole) == len(parts):
            found.append(EnergyRecord(f"{meter.scope} ({meter.name})", sum(whole), seconds, tiles))
    return found


def readings_of(trace: Trace, start: float, end: float) -> dict[str, list[list[float]]]:
    """[seconds from `start`, value] by quantity; where there are more points than a plot needs, means of neighbours."""
    return {name: _thinned(points, start) for name, points in trace.between(start, end).items()}


def peaks_of(trace: Trace, start: float, end: float) -> dict[str, float]:
    """The largest reading of every quantity of memory, power and heat in a stretch of time."""
    cut = trace.between(start, end)
    return {
        name: max(value for _, value in points) for name, points in cut.items() if name.rsplit("_", 1)[-1] in PEAKED
    }


def _thinned(points: Sequence[tuple[float, float]], start: float) -> list[list[float]]:
    values = np.asarray(points, np.float64)
    values[:, 0] -= start
    parts = np.array_split(values, min(len(values), MOST_POINTS))
    return [[round(float(x), 4) for x in part.mean(axis=0)] for part in parts]


def snapshot(trace: Trace, *, last: bool) -> Mapping[str, float]:
    """The first, or the last, reading of every quantity."""
    return {name: points[-1 if last else 0][1] for name, points in list(trace.values.items()) if points}
