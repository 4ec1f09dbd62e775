"""Meters read at an interval by a thread of its own, while something else is measured."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

from calanddet.benchmarks.clock import Clock
from calanddet.benchmarks.telemetry.protocol import Meter, MeterLost

__all__ = ["Sampler", "Trace"]

INTERVAL_S = 0.1
MOST_SHARE = 0.005
"""Most of a core that reading may take: where a reading costs more, readings become rarer."""


@dataclass(slots=True, eq=False)
class Trace:
    """What was read: (seconds on the clock, value) by quantity; cost_s: processor time of the reading; lost: why a
    meter stopped; lost_at: and when, by its name and scope."""

    values: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    lost_at: dict[tuple[str, str], float] = field(default_factory=dict)
    cost_s: float = 0.0
    elapsed_s: float = 0.0

    @property
    def cost_share(self) -> float:
        """Processor time of the reading as a share of one core."""
        return self.cost_s / self.elapsed_s if self.elapsed_s else 0.0

    def between(self, start: float, end: float) -> dict[str, list[tuple[float, float]]]:
        """The part of the trace that belongs to an interval of the clock."""
        cut = {name: [point for point in points if start <= point[0] <= end] for name, points in self.values.items()}
        return {name: points for name, points in cut.items() if points}


class Sampler:
    """A context in which meters are read; leaving it closes them, and `trace` stays."""

    def __init__(self, meters: Sequence[Meter], clock: Clock, *, interval_s: float = INTERVAL_S) -> None:
        self.trace = Trace()
        self._meters, self._clock, self._interval = list(meters), clock, interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="calanddet-telemetry", daemon=True)

    def _run(self) -> None:
        started = time.perf_counter()
        while True:
            cost = self._read()
            self.trace.elapsed_s = time.perf_counter() - started
            if self._stop.wait(max(self._interval, cost / MOST_SHARE)):
                break
        self._read()  # the last moment belongs to it, so that counters cover all of it
        self.trace.elapsed_s = time.perf_counter() - started

    def _read(self) -> float:
        cpu = time.thread_time()
        for meter in list(self._meters):
            now = self._clock.now()
            try:
                found = meter.read()
            except MeterLost as error:
                self._meters.remove(meter)
                self.trace.lost.append(str(error))
                self.trace.lost_at[meter.name, meter.scope] = now
                meter.close()
                continue
            for name, value in found.items():
                self.trace.values.setdefault(name, []).append((now, value))
        cost = time.thread_time() - cpu
        self.trace.cost_s += cost
        return cost

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and close the meters; idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for meter in self._meters:
            meter.close()
