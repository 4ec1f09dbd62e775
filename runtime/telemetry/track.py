"""A flight over time, read at any moment of its video."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from statistics import median

from calanddet.runtime.errors import InputError
from calanddet.runtime.telemetry.reading import Reading

__all__ = ["FlightTrack"]

LONGEST_GAP_S = 3.0
"""Between entries farther apart nothing is known; a drone flies 50 m meanwhile."""
_ANGLES = frozenset({"yaw", "roll", "lon"})
_KEPT = frozenset({"home", "film_mm", "position_sigma_m", "height_sigma_m", "rounding_m"})


@dataclass(frozen=True, slots=True)
class FlightTrack:
    """Readings at times in seconds from the video's first frame, strictly increasing.

    dialect: what wrote it, for people; notes: what is odd about it, in sentences; interval_s: usual time between
    entries, a second where there is one alone. Raises InputError for no reading, or times that do not increase.
    """

    dialect: str
    times: Sequence[float]
    readings: Sequence[Reading]
    notes: Sequence[str] = ()
    interval_s: float = field(init=False)

    def __post_init__(self) -> None:
        if not self.times or len(self.times) != len(self.readings):
            raise InputError(f"a track needs a reading for each time, not {len(self.readings)} for {len(self.times)}")
        steps = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        if any(step <= 0.0 for step in steps):
            raise InputError("the times of a track do not increase")
        # Once and for all: `at` is asked for every frame, and an hour's track has 200,000 entries.
        object.__setattr__(self, "interval_s", median(steps) if steps else 1.0)

    @property
    def until_s(self) -> float:
        """The last moment of which something is known: an entry holds for the usual time between entries."""
        return self.times[-1] + min(self.interval_s, LONGEST_GAP_S)

    def at(self, time_s: float) -> Reading | None:
        """The reading at a time, between entries on a straight line (angles the shorter way round).

        None before the first entry and after the last by more than the usual interval, and in gaps of more than
        LONGEST_GAP_S.
        """
        reach = min(self.interval_s, LONGEST_GAP_S)
        index = bisect_right(self.times, time_s) - 1
        if index < 0:
            return self.readings[0] if self.times[0] - time_s <= reach else None
        if index == len(self.times) - 1:
            return self.readings[-1] if time_s <= self.until_s else None
        begin, end = self.times[index], self.times[index + 1]
        if end - begin > LONGEST_GAP_S:
            return self.readings[index] if time_s - begin <= min(reach, 1.0) else None
        return _between(self.readings[index], self.readings[index + 1], (time_s - begin) / (end - begin))


def _between(first: Reading, second: Reading, share: float) -> Reading:
    values: dict[str, float | None] = {}
    for name in (one.name for one in fields(Reading) if one.name not in _KEPT):
        before, after = getattr(first, name), getattr(second, name)
        if before is None or after is None:
            values[name] = None
            continue
        change = after - before
        if name in _ANGLES:
            change = (change + 180.0) % 360.0 - 180.0
        values[name] = before + share * change
    mixed: Reading = replace(first, **values)  # type: ignore[arg-type]  # lon and lat are never None
    return replace(mixed, lon=(mixed.lon + 180.0) % 360.0 - 180.0)
