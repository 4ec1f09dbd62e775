"""How many tiles a second: as fast as possible, and at the rate at which a camera brings them."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from calanddet.benchmarks.clock import Clock
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import CalanddetError, OptionError
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["OpenLoop", "Windows", "closed_loop", "open_loop"]

FEWEST = 4
"""Batches in a window; with fewer, filling and draining the engine would be most of it."""


@dataclass(slots=True, eq=False)
class Windows:
    """Rates of a closed loop, tiles/s, a window each; starts and ends: the clock at the edges of each window."""

    rates: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    tiles: int = 0
    problem: str = ""


def closed_loop(
    engine: Engine,
    tiles: Bytes,
    clock: Clock,
    *,
    window_s: float,
    windows: int,
    into: Windows | None = None,
    progress: Callable[[float], None] | None = None,
) -> Windows:
    """Keep the engine full and count, in windows of `window_s` (longer where four batches take longer).

    The engine always has as many batches as it takes (`info.in_flight`). A window's edges are completions, so that
    neither the first filling nor the last draining is part of a rate. An engine that fails ends the loop, with its
    reason in `problem`; whole windows are kept. tiles: uint8, (batch, T, T, 3).
    """
    kept = into if into is not None else Windows()
    if not (window_s > 0.0 and windows >= 1):
        raise OptionError(f"a closed loop needs windows of positive length, not {windows} of {window_s} s")
    waiting: deque[Future[Prediction]] = deque()

    def one() -> float:
        while len(waiting) < engine.info.in_flight:
            waiting.append(engine.submit(tiles))
        waiting.popleft().result()
        return clock.now()

    try:
        one()  # nothing is counted before the engine has taken a second batch
        edge = one()
        for number in range(windows):
            count, now = 0, edge
            while count < FEWEST or now - edge < window_s * (1.0 - 1e-9):
                now, count = one(), count + 1
            kept.rates.append(count * len(tiles) / max(now - edge, 1e-12))
            kept.starts.append(edge)
            kept.ends.append(now)
            kept.tiles += count * len(tiles)
            edge = now
            if progress is not None:
                progress((number + 1) / windows)
        while waiting:
            waiting.popleft().result()
    except CalanddetError as error:
        kept.problem = str(error)
    return kept


@dataclass(slots=True, eq=False)
class OpenLoop:
    """Tiles that came at a fixed rate; latencies: seconds from a tile's own scheduled arrival to its result.

    late_s: by how much the last result came after the last arrival; kept_up: whether it stayed bounded, that is, the
    last quarter of tiles did not wait longer than the first by more than a batch takes to fill.
    """

    rate: float
    latencies: list[float] = field(default_factory=list)
    late_s: float = 0.0
    problem: str = ""

    def kept_up(self, batch: int) -> bool:
        """False where the queue grew: latencies of the last quarter are above those of the first for good."""
        quarter = max(1, len(self.latencies) // 4)
        if self.problem or len(self.latencies) < 8:
            return not self.problem
        first = sorted(self.latencies[:quarter])[quarter // 2]
        last = sorted(self.latencies[-quarter:])[quarter // 2]
        return last - first <= max(batch / self.rate, 0.5 * first)


def open_loop(engine: Engine, tiles: Bytes, clock: Clock, *, rate: float, batches: int) -> OpenLoop:
    """Tiles arrive at `rate` a second whether or not the engine is ready; the latency of each counts from its arrival.

    A batch can start when its last tile has come, and waits while the engine has all it takes. The schedule is fixed
    beforehand and never shifted, so that a stall is paid for by every tile that it delays (no coordinated omission).
    tiles: uint8, (batch, T, T, 3).
    """
    if not (rate > 0.0 and batches >= 1):
        raise OptionError(f"an open loop needs a positive rate and a batch, not {rate} tiles/s and {batches} batches")
    loop, size = OpenLoop(rate), len(tiles)
    origin = clock.now()
    done: dict[int, float] = {}
    waiting: deque[tuple[int, Future[Prediction]]] = deque()

    def note(number: int, future: Future[Prediction]) -> None:
        if not future.cancelled() and future.exception() is None:
            done.setdefault(number, clock.now())

    def take() -> None:
        number, future = waiting.popleft()
        future.result()
        note(number, future)  # the callback of a future may come after its result

    try:
        for number in range(batches):
            clock.sleep_until(origin + ((number + 1) * size - 1) / rate)
            while len(waiting) >= engine.info.in_flight:
                take()
            future = engine.submit(tiles)
            future.add_done_callback(partial(note, number))
            waiting.append((number, future))
        while waiting:
            take()
    except CalanddetError as error:
        loop.problem = str(error)
    for number in sorted(done):
        arrivals = (origin + (number * size + place) / rate for place in range(size))
        loop.latencies += [done[number] - arrival for arrival in arrivals]
    if done:
        last = max(done)
        loop.late_s = done[last] - (origin + ((last + 1) * size - 1) / rate)
    return loop
