"""When the engine waits for the source, and how a stream tells how it is doing."""

import logging
import threading

import numpy as np
import pytest

from calanddet.runtime.blend import RULES
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.pipeline import starvation
from calanddet.runtime.pipeline.channel import Channel
from calanddet.runtime.pipeline.stages import Stages, StageTime
from calanddet.runtime.pipeline.starvation import Starvation
from calanddet.runtime.pipeline.stream import stream
from calanddet.runtime.pipeline.track import Restart, Track
from calanddet.runtime.pipeline.vitals import Vitals, Watcher
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Pixels, Window
from helpers.numbers import random_rgb


def said(*, wait: float, read: float, work: float, seconds: float, tiles: bool = True) -> list[str]:
    """What is said in `seconds` of rounds that wait, of which the reader reads, and then work, after a slow start."""
    stages, now, found = Stages(), 100.0, []
    starved, reader = stages.times.setdefault("starved", StageTime()), stages.times.setdefault("read", StageTime())
    watch = Starvation(stages, lambda: now)
    starved.wall_s, reader.wall_s, now = 50.0, 50.0, 150.0
    found.append(watch.fed(tiles=tiles))
    while now < 150.0 + seconds:
        now += wait + work
        starved.wall_s += wait
        reader.wall_s += read
        found.append(watch.fed(tiles=tiles))
    return [notice for notice in found if notice]


def test_a_slow_source_is_told_once_with_what_to_do() -> None:
    (notice,) = said(wait=0.6, read=0.9, work=0.4, seconds=200)
    assert "the engine waited for it in 60% of the last 20 s" in notice or "in 60% of the last 21 s" in notice
    assert "copy the image to a fast local disk" in notice


@pytest.mark.parametrize(
    "rounds",
    [
        {"wait": 0.2, "read": 0.9, "work": 0.8},  # reading keeps up
        {"wait": 0.6, "read": 0.2, "work": 0.4},  # the reader has other work than reading
        {"wait": 0.9, "read": 0.9, "work": 0.1, "tiles": False},  # nothing to infer
    ],
)
def test_other_waits_are_not_the_sources_fault(rounds: dict[str, float]) -> None:
    tiles = bool(rounds.pop("tiles", True))
    assert said(**rounds, seconds=200, tiles=tiles) == []


def test_a_short_pause_is_not_told() -> None:
    assert said(wait=0.9, read=0.9, work=0.1, seconds=15) == []


class SlowSource(ArraySource):
    """Each read takes a while."""

    def read(self, window: Window) -> Pixels:
        threading.Event().wait(0.03)
        return super().read(window)


@pytest.mark.parametrize("kind", [SlowSource, ArraySource])
def test_a_stream_warns_of_its_slow_source(
    kind: type[ArraySource], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(starvation, "WATCHED_S", 0.2)
    source = kind(random_rgb(1, 2300, 260))
    engine = NullEngine(batch=2)
    grid = TileGrid.cover(source.info.shape, 224, 0)
    with caplog.at_level(logging.WARNING, "calanddet"):
        stream(source, engine, grid, rule=RULES["cut"], emit=lambda row, band: None)
    engine.close()
    assert len(caplog.messages) == (1 if kind is SlowSource else 0)


class Looks:
    """A progress function that looks at the stream each time."""

    def __init__(self) -> None:
        self.vitals: Vitals | None = None
        self.seen: list[tuple[int, dict[str, float], dict[str, tuple[int, int]]]] = []

    def watch(self, vitals: Vitals) -> None:
        assert not self.seen
        self.vitals = vitals

    def __call__(self, done: int, total: int) -> None:
        assert self.vitals is not None
        self.seen.append((done, self.vitals.stage_seconds, self.vitals.waiting))


def test_progress_may_watch_the_stream() -> None:
    source, engine, looks = ArraySource(random_rgb(2, 900, 460)), NullEngine(batch=3), Looks()
    assert isinstance(looks, Watcher)
    grid = TileGrid.cover(source.info.shape, 224, 0)
    begin = Restart(tile_row=1, row=224, tiles=3, batches=1)
    stream(
        source, engine, grid, rule=RULES["cut"], emit=lambda row, band: None, progress=looks, track=Track(grid, begin)
    )
    engine.close()
    assert looks.vitals is not None
    assert looks.vitals.begun == 3
    assert looks.seen[-1][0] == len(grid)
    assert {"read", "cut", "starved", "inference", "blend"} <= set(looks.seen[-1][1])
    for _, seconds, queues in looks.seen:
        assert all(took >= 0.0 for took in seconds.values())
        assert set(queues) == {"ready", "sent"}
        assert all(0 <= waiting <= room for waiting, room in queues.values())


def test_a_channel_knows_how_full_it_is() -> None:
    channel: Channel[np.int64] = Channel(2)
    assert (channel.waiting, channel.capacity) == (0, 2)
    channel.put(np.int64(1))
    assert channel.waiting == 1
    channel.get()
    assert channel.waiting == 0
