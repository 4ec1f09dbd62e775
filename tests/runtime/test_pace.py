"""When an engine has become slower since the run began, and what is said of it."""

import logging
import re
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from calanddet.runtime.blend import RULES
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.health.clocks import Clocks, read_clocks
from calanddet.runtime.pipeline import pace
from calanddet.runtime.pipeline.pace import Pace
from calanddet.runtime.pipeline.stages import Stages, StageTime
from calanddet.runtime.pipeline.stream import stream
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes, Prediction
from helpers.numbers import random_rgb

COLD, HOT = Clocks(2000.0, 900.0, 61.0), Clocks(1200.0, 600.0, 93.0)


class World:
    """A clock of its own, an engine that takes one batch at a time, and work of other stages."""

    def __init__(self, device: str = "processor") -> None:
        self.now, self.clocks, self.stages = 100.0, COLD, Stages()
        self.said: list[str] = []
        self.pace = Pace(self.stages, device, clock=lambda: self.now, clocks=lambda: self.clocks)

    def run(self, seconds: float, *, batch_s: float, idle_s: float = 0.0, other_cores: float = 0.0) -> None:
        """Batches one after another, each after a pause, for so long."""
        end, work = self.now + seconds, self.stages.times.setdefault("read", StageTime())
        while self.now < end:
            self.now += idle_s
            result: Future[int] = Future()
            self.pace.follow(result)
            self.now += batch_s
            result.set_result(0)
            work.cpu_s += other_cores * (batch_s + idle_s)
            if notice := self.pace.slower():
                self.said.append(notice)


@pytest.mark.parametrize(
    ("device", "said"), [("processor", "1.20 GHz instead of 2.00"), ("GPU", "0.60 GHz instead of 0.90")]
)
def test_a_hot_device_is_told_once_with_what_to_do(device: str, said: str) -> None:
    world = World(device)
    world.run(65, batch_s=0.5)
    world.clocks = HOT
    world.run(300, batch_s=0.7)
    (notice,) = world.said
    assert re.search("2[0-9]% fewer tiles a second than in its first minute", notice)
    assert f"the {device} runs at {said} at 93 °C" in notice
    assert "shade and air" in notice


@pytest.mark.parametrize(
    ("clocks", "said"),
    [
        (
            Clocks(1990.0, None, 61.0),
            "the processor's clock has not fallen at 61 °C, so another program seems to take it",
        ),
        (Clocks(), "this machine does not tell the processor's clock: where hot"),
        (Clocks(None, 900.0, 80.0), "this machine, at 80 °C, does not tell the processor's clock"),
    ],
)
def test_without_a_fallen_clock_the_reason_is_left_open(clocks: Clocks, said: str) -> None:
    world = World()
    world.run(65, batch_s=0.5)
    world.clocks = clocks
    world.run(130, batch_s=0.8)
    (notice,) = world.said
    assert said in notice


@pytest.mark.parametrize(
    "later",
    [
        {"batch_s": 0.6},  # 17 % slower
        {"batch_s": 0.5, "idle_s": 2.0},  # starved, and no slower
        {"batch_s": 0.9, "other_cores": 0.5},  # the run's own reading takes the processor
    ],
)
def test_other_slowness_is_not_the_engine_s(later: dict[str, float]) -> None:
    world = World()
    world.run(65, batch_s=0.5, other_cores=0.1)
    world.run(400, **{"other_cores": 0.1, **later})
    assert world.said == []


def test_a_slow_first_batch_and_a_short_pause_are_no_measure() -> None:
    world = World()
    world.run(1, batch_s=30.0)
    world.run(65, batch_s=0.5)
    world.run(8, batch_s=3.0)
    world.run(200, batch_s=0.5)
    assert world.said == []


def test_batches_in_flight_are_not_counted_twice() -> None:
    """Two at a time, each waiting for the one before: the engine is busy for as long as the clock runs."""
    world = World()
    waiting: list[Future[int]] = []
    for _ in range(300):
        result: Future[int] = Future()
        world.pace.follow(result)
        waiting.append(result)
        if len(waiting) == 2:
            world.now += 0.5
            waiting.pop(0).set_result(0)
        assert world.pace.slower() == ""
    assert world.pace._engine.busy_s == pytest.approx(world.pace._engine.batches * 0.5)


class Tiring(NullEngine):
    """Takes longer and longer."""

    def __init__(self, *, tires: bool) -> None:
        super().__init__(batch=2)
        self._took, self._tires = 0.004, tires

    def _infer(self, tiles: Bytes) -> Prediction:
        self._took *= 1.1 if self._tires else 1.0
        time.sleep(self._took)
        return super()._infer(tiles)


@pytest.mark.parametrize("tires", [True, False])
def test_a_stream_warns_of_its_engine(
    tires: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pace, "WATCHED_S", 0.03)
    monkeypatch.setattr(pace, "OWN_WORK", 10.0)
    monkeypatch.setattr(pace, "SLOWER", 0.5)
    source, engine = ArraySource(random_rgb(1, 2600, 450)), Tiring(tires=tires)
    grid = TileGrid.cover(source.info.shape, 224, 0)
    with caplog.at_level(logging.WARNING, "calanddet"):
        stream(source, engine, grid, rule=RULES["cut"], emit=lambda row, band: None)
    engine.close()
    assert sum("the engine has become slower" in message for message in caplog.messages) == tires


def test_clocks_are_read_where_linux_tells_them(tmp_path: Path) -> None:
    assert read_clocks(tmp_path) == Clocks()
    for core, kilohertz in enumerate(("1800000\n", "2200000\n", "offline\n")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(kilohertz)
    for zone, degrees in enumerate(("47500", "88000", "0", "-274000", "")):
        folder = tmp_path / f"sys/class/thermal/thermal_zone{zone}"
        folder.mkdir(parents=True)
        (folder / "temp").write_text(degrees)
    assert read_clocks(tmp_path) == Clocks(2000.0, None, 88.0)
    for name, hertz in (("17000000.ga10b", "612000000"), ("d0000.bus", "3199000000")):
        folder = tmp_path / f"sys/class/devfreq/{name}"
        folder.mkdir(parents=True)
        (folder / "cur_freq").write_text(hertz)
    assert read_clocks(tmp_path) == Clocks(2000.0, 612.0, 88.0)
