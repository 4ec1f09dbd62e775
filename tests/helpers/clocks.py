"""A clock that only moves when somebody waits, and engines whose delays are known."""

import heapq
import itertools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future

import numpy as np

from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.errors import EngineError
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes, Prediction

TILE = 32


class VirtualClock:
    """Simulated time: `sleep_until` runs what was planned for the moments that go by."""

    def __init__(self) -> None:
        self._now = 100.0
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def now(self) -> float:
        return self._now

    def at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._planned, (moment, next(self._number), action))

    def sleep_until(self, moment: float) -> None:
        while self._planned and self._planned[0][0] <= moment:
            when, _, action = heapq.heappop(self._planned)
            self._now = max(self._now, when)
            action()
        self._now = max(self._now, moment)


class _Promise(Future[Prediction]):
    """A future whose result lets the virtual clock run until it is there."""

    def __init__(self, clock: VirtualClock, moment: float) -> None:
        super().__init__()
        self._clock, self._moment = clock, moment

    def result(self, timeout: float | None = None) -> Prediction:
        self._clock.sleep_until(self._moment)
        return super().result(timeout)


def info(name: str = "scripted", *, in_flight: int = 1, precision: str = "fp32") -> EngineInfo:
    return EngineInfo(name, "CPU", precision, "0" * 64, threads=1, in_flight=in_flight)


def answer(batch: int, value: int = 200) -> Prediction:
    return Prediction(np.full((batch, TILE, TILE), value, np.uint8), np.ones(batch, np.float32))


class ScriptedEngine:
    """One batch after another on a virtual clock, each taking the next of `delays`; fails after `fail_after`."""

    def __init__(
        self,
        clock: VirtualClock,
        delays: Iterable[float],
        *,
        batch: int = 1,
        in_flight: int = 1,
        fail_after: int | None = None,
    ) -> None:
        self.spec, self.info, self.batch = ModelSpec("scripted", tile=TILE), info(in_flight=in_flight), batch
        self.submitted, self.closed = 0, False
        self._clock, self._delays, self._fail_after = clock, iter(delays), fail_after
        self._free_at = 0.0

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        assert tiles.shape == (self.batch, TILE, TILE, 3)
        self._free_at = max(self._clock.now(), self._free_at) + next(self._delays)
        promise = _Promise(self._clock, self._free_at)
        self.submitted += 1
        if self._fail_after is not None and self.submitted > self._fail_after:
            self._clock.at(self._free_at, lambda: promise.set_exception(EngineError("the GPU fell off the bus")))
        else:
            self._clock.at(self._free_at, lambda: promise.set_result(answer(self.batch)))
        return promise

    def close(self) -> None:
        self.closed = True


class TimedEngine:
    """Real time: every batch takes the next of `delays` seconds, in the caller's thread.

    `took` says how long each batch really took: a busy machine pushes the thread aside.
    """

    def __init__(
        self, delays: Iterable[float], *, batch: int = 1, fail_after: int | None = None, precision: str = "fp32"
    ) -> None:
        self.spec, self.info, self.batch = ModelSpec("timed", tile=TILE), info("timed", precision=precision), batch
        self.took: list[float] = []
        self.closed = False
        self._delays, self._fail_after = iter(delays), fail_after

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        began = time.perf_counter()
        end = began + next(self._delays)
        future: Future[Prediction] = Future()
        if self._fail_after is not None and len(self.took) >= self._fail_after:
            future.set_exception(EngineError("the GPU fell off the bus"))
            return future
        result = answer(len(tiles))
        while (left := end - time.perf_counter()) > 0:
            if left > 0.0003:
                time.sleep(left - 0.0003)
        future.set_result(result)
        self.took.append(time.perf_counter() - began)
        return future

    def close(self) -> None:
        self.closed = True
