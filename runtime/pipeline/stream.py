"""The stream: reading, inference and stitching at the same time, in bounded memory.

    reader thread            caller's thread          writer thread
    source -> strips ->      batches -> engine ->     results -> mosaic -> emit
    tiles -> batches

Two channels join them, a third brings the batch arrays back, and a fourth holds as many permits as the engine takes
batches at a time. All order is fixed by the reader, and sums are
integers, so no bytes depend on which thread is first.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from calanddet.runtime.blend import BlendRule
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.mosaic import Mosaic
from calanddet.runtime.pipeline.channel import Channel
from calanddet.runtime.pipeline.crew import Crew
from calanddet.runtime.pipeline.parcels import Cutter, Parcel, Place
from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.pipeline.starvation import Starvation
from calanddet.runtime.pipeline.strips import Strips
from calanddet.runtime.pipeline.track import Restart, Track
from calanddet.runtime.pipeline.vitals import Vitals, Watcher
from calanddet.runtime.sources.protocol import Interruptible, Source
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["Emit", "Progress", "StreamStats", "TileSeen", "stream"]

_log = logging.getLogger(__name__)

Emit: TypeAlias = Callable[[int, Bytes], None]
"""Takes (first row, band uint8 (h, W)): the finished rows of the map, from the top without gaps."""
Progress: TypeAlias = Callable[[int, int], None]
"""Takes (tiles done or skipped, tiles of the grid); called from the writer thread. It may be a `Watcher` besides."""

TileSeen: TypeAlias = Callable[[int, int, float], None]
"""Takes (tile row, tile column, presence) of each tile that was inferred, in the grid's order, in the writer thread."""

AHEAD = 2
"""Batches that the reader may have ready."""


@dataclass(slots=True)
class StreamStats:
    """What a stream did: tiles inferred and skipped, batches, tiles where presence reached one half, stage times."""

    tiles: int = 0
    skipped: int = 0
    batches: int = 0
    tiles_with_presence: int = 0
    stages: Stages = field(default_factory=Stages)


@dataclass(frozen=True, slots=True)
class _Sent:
    parcel: Parcel
    result: "Future[Prediction] | None"


class _Stream:
    def __init__(self, source: Source, engine: Engine, grid: TileGrid, track: Track, stages: Stages) -> None:
        self.source, self.engine, self.grid, self.track = source, engine, grid, track
        start = track.start
        self.stats = StreamStats(start.tiles, start.skipped, start.batches, start.tiles_with_presence, stages)
        self.tile_row = start.tile_row
        strips = Strips(source, grid.rows.tile, self.stats.stages, grid.rows.origin(start.tile_row))
        self.cutter = Cutter(grid, strips, engine.batch, self.stats.stages)
        in_flight = engine.info.in_flight
        self.ready: Channel[Parcel] = Channel(AHEAD)
        self.sent: Channel[_Sent] = Channel(AHEAD + in_flight)
        self.permits: Channel[bool] = Channel(in_flight)
        for _ in range(in_flight):
            self.permits.put(True)
        arrays = AHEAD + in_flight + 3  # one each in the hands of the reader, the feeder and the writer
        self.free: Channel[Bytes] = Channel(arrays)
        for _ in range(arrays):
            self.free.put(np.zeros((engine.batch, grid.rows.tile, grid.cols.tile, 3), np.uint8))

    def abort(self) -> None:
        for channel in (self.ready, self.sent, self.permits, self.free):
            channel.abort()
        if isinstance(self.source, Interruptible):
            self.source.interrupt()

    @property
    def vitals(self) -> Vitals:
        start = self.track.start
        return Vitals(start.tiles + start.skipped, self.stats.stages, {"ready": self.ready, "sent": self.sent})

    def read(self) -> None:
        """The reader thread."""
        for parcel in self.cutter.parcels(self._free_array, self.track.start):
            self.ready.put(parcel)
        self.ready.close()

    def _free_array(self) -> Bytes:
        array = self.free.get()
        if array is None:  # the channel of arrays is never closed, only aborted
            raise RuntimeError("no batch arrays")
        return array

    def feed(self) -> None:
        """The caller's thread."""
        starvation = Starvation(self.stats.stages)
        while True:
            with self.stats.stages.timed("starved"):
                parcel = self.ready.get()
            if parcel is None:
                break
            if notice := starvation.fed(tiles=parcel.tiles is not None):
                _log.warning("%s: %s", self.source.info.path, notice)
            result = None
            if parcel.tiles is not None:
                self.permits.get()
                result = self.engine.submit(parcel.tiles)
            self.sent.put(_Sent(parcel, result))
        self.sent.close()

    def write(self, rule: BlendRule, emit: Emit, progress: Progress, seen: TileSeen) -> None:
        """The writer thread."""
        stages, start = self.stats.stages, self.track.start

        def timed_emit(row: int, band: Bytes) -> None:
            known = max(start.row - row, 0)
            if known < len(band):
                with stages.timed("write"):
                    emit(row + known, band[known:])

        mosaic = Mosaic(self.grid, rule, timed_emit, tile_row=start.tile_row)
        while (sent := self.sent.get()) is not None:
            self._pass(sent.parcel.tile_row, sent.parcel.tile_col)
            prediction = None
            if sent.result is not None:
                with stages.timed("inference"):
                    prediction = sent.result.result()
                self.permits.put(True)
                self._count(sent.parcel, prediction)
            self._stitch(mosaic, sent.parcel, prediction, seen)
            if sent.parcel.tiles is not None:
                self.free.put(sent.parcel.tiles)
            progress(self.stats.tiles + self.stats.skipped, len(self.grid))
        self._pass(self.grid.rows.count, 0)

    def _pass(self, tile_row: int, tile_col: int) -> None:
        stats = self.stats
        counts = stats.tiles, stats.skipped, stats.batches, stats.tiles_with_presence
        self.track.passed(Restart(0, tile_row, tile_col, *counts))

    def _count(self, parcel: Parcel, prediction: Prediction) -> None:
        self.stats.batches += 1
        self.stats.tiles += parcel.count
        self.stats.tiles_with_presence += int((prediction.presence[: parcel.count] >= 0.5).sum())

    def _stitch(self, mosaic: Mosaic, parcel: Parcel, prediction: Prediction | None, seen: TileSeen) -> None:
        for step in parcel.steps:
            if isinstance(step, Place):
                assert prediction is not None
                with self.stats.stages.timed("blend"):
                    mosaic.add(step.tile_col, prediction.probability[step.slot])
                seen(self.tile_row, step.tile_col, float(prediction.presence[step.slot]))
            else:
                self.tile_row += 1
                self.stats.skipped += step.skipped
                mosaic.finish_row(step.valid)


def stream(
    source: Source,
    engine: Engine,
    grid: TileGrid,
    *,
    rule: BlendRule,
    emit: Emit,
    progress: Progress | None = None,
    seen: TileSeen | None = None,
    track: Track | None = None,
    stages: Stages | None = None,
) -> StreamStats:
    """Map `source` with `engine` over `grid`, and hand the finished rows to `emit` in its own thread.

    `seen` is told what the network says of each tile as a whole. `track` says where to begin, if not at the top, and
    is told where batches begin. `stages` takes the times, one's own where it listens to them.
    Where reading is the bottleneck for a while, that is logged as a warning, once.
    Raises whatever source, engine or emit raise first; nothing runs any more when it returns or raises.
    """
    state = _Stream(source, engine, grid, track or Track(grid), stages or Stages())
    watcher: object = progress
    if isinstance(watcher, Watcher):
        watcher.watch(state.vitals)
    with Crew(state.abort) as crew:
        crew.start("reader", state.read)
        crew.start("writer", lambda: state.write(rule, emit, progress or (lambda done, total: None), seen or _ignored))
        state.feed()
    return state.stats


def _ignored(tile_row: int, tile_col: int, presence: float) -> None:
    """Nobody asked."""
