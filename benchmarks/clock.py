"""Time: one clock for everything that is measured, and what reading it costs."""

import itertools
import statistics
import time
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Clock", "SystemClock", "TimerCost", "timer_cost"]

SPIN_S = 0.001
"""The end of a sleep that is waited for by looking at the clock: a system wakes sleepers late by up to about this."""


class Clock(Protocol):
    """Seconds that never run backwards; a test may bring its own."""

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    def sleep_until(self, moment: float) -> None:
        """Return when `moment` has come; at once where it has gone by."""
        ...


class SystemClock:
    """The system's monotonic clock of the highest resolution."""

    def now(self) -> float:
        """See Clock.now."""
        return time.perf_counter()

    def sleep_until(self, moment: float) -> None:
        """See Clock.sleep_until."""
        while (left := moment - time.perf_counter()) > 0.0:
            if left > SPIN_S:
                time.sleep(left - SPIN_S)


@dataclass(frozen=True, slots=True)
class TimerCost:
    """pair_s: what two readings of the clock add to what lies between them; step_s: the smallest step it shows."""

    pair_s: float
    step_s: float

    def share_of(self, seconds: float) -> float:
        """The timer's part of something that was measured to take `seconds`."""
        return self.pair_s / seconds if seconds > 0.0 else float("inf")


def timer_cost(clock: Clock, *, blocks: int = 20, pairs: int = 500) -> TimerCost:
    """Measure the clock with itself: the median over blocks of pairs of readings."""
    costs: list[float] = []
    steps: list[float] = []
    for _ in range(blocks):
        readings = [clock.now() for _ in range(2 * pairs)]
        costs.append((readings[-1] - readings[0]) / (2 * pairs - 1) * 2)
        steps += [b - a for a, b in itertools.pairwise(readings) if b > a]
    return TimerCost(statistics.median(costs), min(steps, default=0.0))
