"""The sampler: what it reads, what it costs, and what it does when a meter goes away."""

import time

import pytest

from calanddet.benchmarks.clock import SystemClock
from calanddet.benchmarks.telemetry.host import HostMeter
from calanddet.benchmarks.telemetry.protocol import MeterLost
from calanddet.benchmarks.telemetry.sampler import Sampler


class Ramp:
    """Counts its readings; lost after `last` of them; each takes `cost_s` of processor time."""

    name, scope, total = "ramp", "board", ("ramp_w",)

    def __init__(self, *, last: int = 10**9, cost_s: float = 0.0) -> None:
        self.count, self.closed = 0, 0
        self._last, self._cost = last, cost_s

    def read(self) -> dict[str, float]:
        self.count += 1
        if self.count > self._last:
            raise MeterLost("gpu0: the GPU is lost")
        end = time.thread_time() + self._cost
        while time.thread_time() < end:
            pass
        return {"ramp_w": float(self.count)}

    def close(self) -> None:
        self.closed += 1


def test_readings_come_at_their_times_and_meters_are_closed() -> None:
    meter = Ramp()
    with Sampler([meter], SystemClock(), interval_s=0.01) as sampler:
        started = SystemClock().now()
        time.sleep(0.2)
    points = sampler.trace.values["ramp_w"]
    assert [value for _, value in points] == [float(number) for number in range(1, len(points) + 1)]
    assert len(points) >= 5
    assert points[-1][0] - started >= 0.19  # the last moment is read too
    assert meter.closed == 1
    half = sampler.trace.between(started + 0.1, started + 0.3)["ramp_w"]
    assert 0 < len(half) < len(points)


def test_a_meter_that_is_lost_is_said_and_the_others_go_on() -> None:
    lost, good = Ramp(last=2), Ramp()
    with Sampler([lost, good], SystemClock(), interval_s=0.01) as sampler:
        time.sleep(0.15)
    assert sampler.trace.lost == ["gpu0: the GPU is lost"]
    assert lost.count == 3
    assert good.count > 3
    assert len(sampler.trace.values["ramp_w"]) == good.count + 2


def test_telemetry_takes_under_a_percent_of_a_core() -> None:
    with Sampler([HostMeter()], SystemClock()) as sampler:
        time.sleep(0.5)
    assert sampler.trace.values["resident_bytes"]
    assert 0.0 < sampler.trace.cost_share < 0.01


def test_where_a_reading_is_dear_readings_become_rare() -> None:
    with Sampler([Ramp(cost_s=0.002)], SystemClock(), interval_s=0.01) as sampler:
        time.sleep(0.9)
    assert len(sampler.trace.values["ramp_w"]) <= 4
    assert sampler.trace.cost_share == pytest.approx(0.005, abs=0.005)
