"""Whether the engine has become slower since the run began: a machine that is too hot, or shared."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from calanddet.runtime.health.clocks import Clocks, read_clocks
from calanddet.runtime.pipeline.stages import Stages

__all__ = ["Pace"]

WATCHED_S = 60.0
"""Seconds that are compared with as many at the beginning."""
SLOWER = 0.2
"""Share of its rate that an engine must lose to be told."""
FEWEST = 5
"""Batches that make a rate."""
CLOCK_FELL = 0.05
OWN_WORK = 0.1
"""Cores that this run's own other work may take more than at the beginning and still not be the reason."""
NOT_WORK = frozenset({"inference", "starved"})


@dataclass(frozen=True, slots=True)
class _Minute:
    """What a stretch of time was like: seconds of the engine a batch, cores that the run's other work took."""

    batch_s: float
    other_cores: float
    clocks: Clocks


@dataclass(slots=True)
class _Mark:
    """Where a stretch of time begins."""

    at: float
    busy_s: float
    batches: int
    other_s: float


@dataclass(slots=True)
class _Engine:
    """Seconds in which the engine had something to do; kept by whichever thread ends a batch."""

    busy_s: float = 0.0
    batches: int = 0
    last: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Pace:
    """Watches the engine of a stream and says once that it has become slower by more than SLOWER.

    Only seconds count in which it had a batch, so that neither a slow source nor a slow disk is taken for it. Nothing
    is said where the run's own other work has grown meanwhile and may have taken the processor from it.
    """

    def __init__(
        self,
        stages: Stages,
        device: str = "processor",
        *,
        clock: Callable[[], float] = time.perf_counter,
        clocks: Callable[[], Clocks] = read_clocks,
    ) -> None:
        """`device`: what the engine runs on, "processor" or "GPU"."""
        self._stages, self._device, self._clock, self._clocks = stages, device, clock, clocks
        self._engine = _Engine()
        self._mark: _Mark | None = None
        self._first: _Minute | None = None
        self._told = False

    def follow(self, result: "Future[Any]") -> None:
        """Take note of a batch that is given to the engine now."""
        sent = self._clock()
        result.add_done_callback(lambda _: self._done(sent))

    def _done(self, sent: float) -> None:
        engine = self._engine
        with engine.lock:
            now = self._clock()
            engine.busy_s += now - max(sent, engine.last)
            engine.last = now
            engine.batches += 1

    def slower(self) -> str:
        """A sentence, once, or nothing; to be asked now and then from the thread that feeds the engine."""
        if self._told:
            return ""
        here = self._here()
        if self._mark is None:
            if here.batches:  # the first batch of all takes longer: memory, caches, kernels
                self._mark = here
            return ""
        batches = here.batches - self._mark.batches
        took = here.at - self._mark.at
        if took < WATCHED_S or batches < FEWEST:
            return ""
        minute = _Minute(
            (here.busy_s - self._mark.busy_s) / batches, (here.other_s - self._mark.other_s) / took, self._clocks()
        )
        self._mark = here
        if self._first is None:
            self._first = minute
            return ""
        lost = 1.0 - self._first.batch_s / minute.batch_s
        own = minute.other_cores - self._first.other_cores
        self._told = lost > SLOWER and own < OWN_WORK
        return _sentence(self._device, lost, self._first.clocks, minute.clocks) if self._told else ""

    def _here(self) -> _Mark:
        other = sum(entry.cpu_s for name, entry in dict(self._stages.times).items() if name not in NOT_WORK)
        with self._engine.lock:
            return _Mark(self._clock(), self._engine.busy_s, self._engine.batches, other)


def _sentence(device: str, lost: float, first: Clocks, now: Clocks) -> str:
    what = f"the engine has become slower: {lost:.0%} fewer tiles a second than in its first minute"
    heat = "" if now.celsius is None else f" at {now.celsius:.0f} °C"
    was, is_now = (first.gpu_mhz, now.gpu_mhz) if device == "GPU" else (first.mhz, now.mhz)
    if was is None or is_now is None:
        return (
            f"{what}; this machine{heat and ',' + heat + ','} does not tell the {device}'s clock: where hot, give it "
            f"shade and air; where not, another program takes the {device}"
        )
    if is_now < (1.0 - CLOCK_FELL) * was:
        return (
            f"{what}; the {device} runs at {is_now / 1e3:.2f} GHz instead of {was / 1e3:.2f}{heat}: it is too hot or "
            "short of power, so give it shade and air, mains, or a higher power mode"
        )
    return (
        f"{what}; the {device}'s clock has not fallen{heat}, so another program seems to take it: close what else runs"
    )
