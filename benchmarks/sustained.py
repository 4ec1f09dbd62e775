"""The rate over minutes, and whether the machine throttles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calanddet.benchmarks.changes import Change, find_changes

__all__ = ["Throttling", "find_throttling"]

LEAST = 0.03
"""Smallest fall of the rate that is called throttling."""
CLOCKS = ("mhz",)
HEAT = ("c",)


@dataclass(frozen=True, slots=True)
class Throttling:
    """The fall of a rate: when it happened (seconds from the start), how far, and what clocks and heat did then."""

    at_s: float
    change: Change
    clocks: Mapping[str, tuple[float, float]]
    temperatures: Mapping[str, tuple[float, float]]

    def __str__(self) -> str:
        said = (
            f"after {self.at_s:.0f} s the rate fell by {100 * self.change.drop:.0f} %, "
            f"from {self.change.before:.3g} to {self.change.after:.3g} tiles/s"
        )
        fallen = [name for name, (before, after) in self.clocks.items() if after < before * (1 - LEAST)]
        clocks = ", ".join(f"{name} {self.clocks[name][0]:.0f} to {self.clocks[name][1]:.0f} MHz" for name in fallen)
        heat = ", ".join(f"{name} {after:.0f} C" for name, (_, after) in self.temperatures.items())
        if clocks:
            return f"{said}, and clocks with it ({clocks})" + (f"; {heat}" if heat else "")
        return f"{said}; no clock that can be read fell with it: the machine may have had other work"


def find_throttling(
    rates: Sequence[float], ends: Sequence[float], readings: Mapping[str, Sequence[tuple[float, float]]]
) -> list[Throttling]:
    """Every lasting fall of `rates` (tiles/s, a window each that ended at `ends`).

    readings: (time, value) by quantity, on the same clock; the unit is the end of its name (`_mhz`, `_c`).
    """
    if len(rates) != len(ends) or not rates:
        return []
    found = []
    for change in find_changes(rates, least=LEAST):
        if change.drop < LEAST:
            continue
        at = ends[change.index - 1]
        sides = {name: _around(values, at) for name, values in readings.items()}
        known = {name: side for name, side in sides.items() if side is not None}
        clocks = {name: side for name, side in known.items() if name.rsplit("_", 1)[-1] in CLOCKS}
        heat = {name: side for name, side in known.items() if name.rsplit("_", 1)[-1] in HEAT}
        found.append(Throttling(at - ends[0], change, clocks, heat))
    return found


def _around(values: Sequence[tuple[float, float]], at: float) -> tuple[float, float] | None:
    """Means of a quantity before and after a moment."""
    before = [value for moment, value in values if moment <= at]
    after = [value for moment, value in values if moment > at]
    if not before or not after:
        return None
    return sum(before) / len(before), sum(after) / len(after)
