"""The figures of a case, computed from its samples: quantiles with intervals, rates, energy."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from calanddet.benchmarks.quantiles import Interval, enough_for, quantile_interval
from calanddet.benchmarks.record import CaseRecord, Record

__all__ = ["QUANTILES", "Summary", "ground_per_tile", "summarize"]

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
OF_RATES = {"p50": 0.5, "p10": 0.1, "p01": 0.01}
"""The bad end of a rate is the low one."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a case.

    quantiles: of the samples, in the case's unit; those that need more samples than there are are left out. worst: the
    largest time, or the lowest rate. rate: tiles/s with its interval; mpx_per_s and km2_per_h: new ground, without
    what tiles share. joules: a tile, by scope; joules_per_km2 likewise.
    """

    count: int
    quantiles: Mapping[str, Interval]
    worst: float
    rate: Interval | None
    mpx_per_s: float | None
    km2_per_h: float | None
    joules: Mapping[str, float]
    joules_per_km2: Mapping[str, float]

    def to_dict(self) -> dict[str, object]:
        """The figures for JSON."""
        intervals = {name: _plain(one) for name, one in self.quantiles.items()}
        return {
            "samples": self.count,
            **intervals,
            "worst": self.worst,
            "tiles_per_s": None if self.rate is None else _plain(self.rate),
            "mpx_per_s": self.mpx_per_s,
            "km2_per_h": self.km2_per_h,
            "joules_per_tile": dict(self.joules),
            "joules_per_km2": dict(self.joules_per_km2),
        }


def _plain(interval: Interval) -> list[float]:
    """[value, low, high], the value alone where there is no interval."""
    return [interval.value, interval.low, interval.high] if interval.known else [interval.value]


def summarize(record: Record, case: CaseRecord) -> Summary | None:
    """None for a case without a sample."""
    samples = case.flat
    if not samples:
        return None
    is_rate = case.unit == "tiles/s"
    quantiles = {
        name: quantile_interval(samples, q)
        for name, q in (OF_RATES if is_rate else QUANTILES).items()
        if q == 0.5 or enough_for(len(samples), max(q, 1.0 - q))
    }
    rate = _rate(case, quantiles["p50"])
    pixels = _pixels_per_tile(record, case)
    gsd = float(record.plan.get("gsd_m", 0.0)) or None
    mpx = None if rate is None or pixels is None else rate.value * pixels / 1e6
    km2 = None if mpx is None or gsd is None else mpx * 1e6 * gsd**2 / 1e6 * 3600
    joules = {one.scope: one.joules / one.tiles for one in case.energy if one.tiles}
    ground = None if pixels is None or gsd is None else pixels * gsd**2 / 1e6
    return Summary(
        len(samples),
        quantiles,
        min(samples) if is_rate else max(samples),
        rate,
        mpx,
        km2,
        joules,
        {} if ground is None else {scope: each / ground for scope, each in joules.items()},
    )


def _rate(case: CaseRecord, middle: Interval) -> Interval | None:
    """Tiles a second: the median of windows, or what the median of times amounts to; None for an open loop, whose rate
    is the camera's."""
    if case.kind == "open":
        return None
    if case.unit == "tiles/s":
        return middle
    tiles = case.tiles / len(case.flat) if case.kind == "mapping" else case.batch
    if not tiles or middle.value <= 0.0:
        return None
    if not middle.known or middle.low <= 0.0:
        return Interval(tiles / middle.value, 0.0, inf)
    return Interval(tiles / middle.value, tiles / middle.high, tiles / middle.low)


def _pixels_per_tile(record: Record, case: CaseRecord) -> float | None:
    """New pixels that a tile brings: counted where an image was mapped, else those of a grid with the usual overlap."""
    if case.tiles and case.pixels:
        return case.pixels / case.tiles
    return ground_per_tile(record.candidate(case.candidate).tile, int(record.plan.get("overlap", 0)))


def ground_per_tile(tile: int, overlap: int) -> float:
    """Pixels of a tile that no earlier neighbour has, (tile - overlap)^2."""
    return float(np.square(tile - overlap))
