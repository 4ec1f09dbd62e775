"""Closed and open loops, against what queueing says they must give, on a simulated clock."""

import itertools

import numpy as np
import pytest

from calanddet.benchmarks.clock import SystemClock
from calanddet.benchmarks.throughput import closed_loop, open_loop
from calanddet.runtime.errors import OptionError
from calanddet.runtime.types import Bytes
from helpers.clocks import TILE, ScriptedEngine, TimedEngine, VirtualClock


def tiles(batch: int) -> Bytes:
    return np.zeros((batch, TILE, TILE, 3), np.uint8)


def lindley(delays: list[float], *, rate: float, batch: int, start: float) -> list[float]:
    """Latencies of tiles in a queue with one server: a batch starts when it is full and the server free."""
    free, latencies = 0.0, list[float]()
    for number, delay in enumerate(delays):
        full = start + ((number + 1) * batch - 1) / rate
        free = max(free, full) + delay
        latencies += [free - (start + (number * batch + place) / rate) for place in range(batch)]
    return latencies


@pytest.mark.parametrize(("batch", "in_flight"), [(1, 1), (4, 2), (3, 3)])
def test_a_closed_loop_gives_the_engines_rate(batch: int, in_flight: int) -> None:
    clock = VirtualClock()
    engine = ScriptedEngine(clock, itertools.repeat(0.02), batch=batch, in_flight=in_flight)
    found = closed_loop(engine, tiles(batch), clock, window_s=0.2, windows=6)
    assert found.rates == pytest.approx([batch / 0.02] * 6)
    assert found.tiles == 6 * 10 * batch
    assert found.ends[:-1] == found.starts[1:]


def test_a_window_has_four_batches_at_the_least() -> None:
    clock = VirtualClock()
    found = closed_loop(ScriptedEngine(clock, itertools.repeat(3.0)), tiles(1), clock, window_s=0.1, windows=2)
    assert [end - start for start, end in zip(found.starts, found.ends, strict=True)] == pytest.approx([12.0, 12.0])


def test_a_loop_that_fails_keeps_its_windows() -> None:
    clock = VirtualClock()
    engine = ScriptedEngine(clock, itertools.repeat(0.01), fail_after=25)
    found = closed_loop(engine, tiles(1), clock, window_s=0.1, windows=10)
    assert len(found.rates) == 2
    assert found.problem == "the GPU fell off the bus"


@pytest.mark.parametrize(("batch", "in_flight"), [(1, 1), (1, 2), (4, 2)])
def test_an_open_loop_counts_from_the_arrival_as_queueing_theory_does(batch: int, in_flight: int) -> None:
    clock, random = VirtualClock(), np.random.default_rng(batch)
    delays = [float(delay) for delay in random.uniform(0.01, 0.03, 60)]
    delays[20] = 0.5  # a stall, for which every tile that it delays pays
    start = clock.now()
    engine = ScriptedEngine(clock, delays, batch=batch, in_flight=in_flight)
    found = open_loop(engine, tiles(batch), clock, rate=batch * 25.0, batches=60)
    assert found.latencies == pytest.approx(lindley(delays, rate=batch * 25.0, batch=batch, start=start))
    assert sum(latency > 0.1 for latency in found.latencies) > 10 * batch
    assert found.kept_up(batch)


def test_an_engine_that_is_too_slow_is_said() -> None:
    clock = VirtualClock()
    found = open_loop(ScriptedEngine(clock, itertools.repeat(0.05)), tiles(1), clock, rate=25.0, batches=100)
    assert not found.kept_up(1)
    assert found.late_s == pytest.approx(100 * 0.05 - 99 / 25.0)
    calm = open_loop(ScriptedEngine(clock, itertools.repeat(0.05)), tiles(1), clock, rate=18.0, batches=100)
    assert calm.kept_up(1)


def test_an_open_loop_that_fails_keeps_the_tiles_before() -> None:
    clock = VirtualClock()
    engine = ScriptedEngine(clock, itertools.repeat(0.01), fail_after=7)
    found = open_loop(engine, tiles(1), clock, rate=50.0, batches=20)
    assert found.latencies == pytest.approx([0.01] * 7)
    assert found.problem == "the GPU fell off the bus"
    assert not found.kept_up(1)


def test_loops_in_real_time_agree_with_the_engines_pace() -> None:
    """What other programs take of the machine can only slow a loop down."""
    engine = TimedEngine(itertools.repeat(0.01), batch=2)
    found = closed_loop(engine, tiles(2), SystemClock(), window_s=0.1, windows=5)
    pace = 2 / np.mean(engine.took[2:])
    assert 0.8 * pace <= found.tiles / (found.ends[-1] - found.starts[0]) <= 1.02 * pace
    engine.took.clear()
    arrived = open_loop(engine, tiles(2), SystemClock(), rate=100.0, batches=25)
    assert all(latency >= took for latency, took in zip(arrived.latencies[1::2], engine.took, strict=True))
    assert arrived.latencies[0] >= 0.01 + engine.took[0]  # it waits for the second of its batch
    assert np.quantile(arrived.latencies[1::2], 0.1) < 0.03


def test_impossible_loops_are_refused() -> None:
    clock = VirtualClock()
    engine = ScriptedEngine(clock, [])
    with pytest.raises(OptionError, match="closed loop"):
        closed_loop(engine, tiles(1), clock, window_s=0.0, windows=1)
    with pytest.raises(OptionError, match="open loop"):
        open_loop(engine, tiles(1), clock, rate=0.0, batches=1)
