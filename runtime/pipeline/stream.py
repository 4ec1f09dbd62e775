"""The stream: reading, inference and stitching at the same time, in bounded memory.

    reader thread            caller's thread          writer thread
    source -> strips ->      batches -> engine ->     results -> mosaic -> emit
    tiles -> batches

Two channels join them, a third brings the batch arrays back, and a fourth holds as many permits as the engine takes
batches at a time. With triage, a fifth brings what the network says of first looks to the reader (scouts.py). All order
is fixed by the reader, and sums are integers, so no bytes depend on which thread is first.
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
from calanddet.runtime.pipeline.pace import Pace
from calanddet.runtime.pipeline.parcels import Cutter, Parcel, Place, Scouting
from calanddet.runtime.pipeline.scouts import LooksTaken, Scouts, Verdict
from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.pipeline.starvation import Starvation
from calanddet.runtime.pipeline.strips import Strips
from calanddet.runtime.pipeline.track import Restart, Track
from calanddet.runtime.pipeline.vitals import Vitals, Watcher
from calanddet.runtime.sources.protocol import Interruptible, Source
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.triage import ScoutGrid
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
    """What a stream did: tiles inferred and skipped, batches, tiles where presence reached one half, stage times.

    With triage, passed: tiles that were not worth inferring; looks: tiles of the first look, not in batches.
    """

    tiles: int = 0
    skipped: int = 0
    batches: int = 0
    tiles_with_presence: int = 0
    passed: int = 0
    looks: int = 0
    stages: Stages = field(default_factory=Stages)


@dataclass(frozen=True, slots=True)
class _Sent:
    parcel: Parcel
    result: "Future[Prediction] | None"


class _Stream:
    def __init__(self, source: Source, engine: Engine, grid: TileGrid, track: Track, stages: Stages) -> None:
        self.source, self.engine, self.grid, self.track = source, engine, grid, track
        self.stats = StreamStats(**track.start.counts, stages=stages)
        self.tile_row = track.start.tile_row
        self.scouting, self.looks = Scouting(), LooksTaken(track.start.looks)
        self.verdicts: Channel[Verdict] = Channel(1)
        self.strips = Strips(source, stages, grid.rows.origin(track.start.tile_row))
        in_flight = engine.info.in_flight
        self.ready: Channel[Parcel] = Channel(AHEAD)
        self.sent: Channel[_Sent] = Channel(AHEAD + in_flight)
        self.permits: Channel[bool] = Channel(in_flight)
        for _ in range(in_flight):
            self.permits.put(True)
        arrays = AHEAD + in_flight + 4  # one each in the hands of the feeder and the writer, two in the reader's
        self.free: Channel[Bytes] = Channel(arrays)
        for _ in range(arrays):
            self.free.put(np.zeros((engine.batch, grid.rows.tile, grid.cols.tile, 3), np.uint8))

    def scout(self, threshold: float) -> None:
        """Look first, and infer only what a look finds promising."""
        grid, stages, tile_row = ScoutGrid.over(self.grid), self.stats.stages, self.track.start.tile_row
        top = grid.looks.rows.origin(grid.look_rows(tile_row).start)
        self.looks = LooksTaken(self.track.start.looks, grid)
        self.verdicts = Channel(len(grid.looks))  # room for all: the writer never waits for the reader
        self.strips = Strips(self.source, stages, min(self.grid.rows.origin(tile_row), top))
        self.scouting = Scouts(
            grid, threshold, batch=self.engine.batch, strips=self.strips, verdicts=self.verdicts, stages=stages
        )

    def abort(self) -> None:
        for channel in (self.ready, self.sent, self.permits, self.free, self.verdicts):
            channel.abort()
        if isinstance(self.source, Interruptible):
            self.source.interrupt()

    @property
    def vitals(self) -> Vitals:
        start = self.track.start
        begun = start.tiles + start.skipped + start.passed
        return Vitals(begun, self.stats.stages, {"ready": self.ready, "sent": self.sent})

    def read(self) -> None:
        """The reader thread."""
        cutter = Cutter(self.grid, self.strips, self.engine.batch, self.stats.stages, self.scouting)
        for parcel in cutter.parcels(self._free_array, self.track.start):
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
        pace = Pace(self.stats.stages, "processor" if self.engine.info.threads else "GPU")
        while True:
            with self.stats.stages.timed("starved"):
                parcel = self.ready.get()
            if parcel is None:
                break
            if notice := starvation.fed(tiles=parcel.tiles is not None) or pace.slower():
                _log.warning("%s: %s", self.source.info.path, notice)
            result = None
            if parcel.tiles is not None:
                self.permits.get()
                result = self.engine.submit(parcel.tiles)
                pace.follow(result)
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
            parcel, prediction = sent.parcel, None
            if parcel.look_row is None:
                self._pass(parcel.tile_row, parcel.tile_col)
            if sent.result is not None:
                with stages.timed("inference"):
                    prediction = sent.result.result()
                self.permits.put(True)
                self._count(parcel, prediction)
            self._stitch(mosaic, parcel, prediction, seen)
            if parcel.tiles is not None:
                self.free.put(parcel.tiles)
            progress(self.stats.tiles + self.stats.skipped + self.stats.passed, len(self.grid))
        self._pass(self.grid.rows.count, 0)

    def _pass(self, tile_row: int, tile_col: int) -> None:
        stats = self.stats
        self.track.passed(
            Restart(
                tile_row=tile_row,
                tile_col=tile_col,
                tiles=stats.tiles,
                skipped=stats.skipped,
                batches=stats.batches,
                tiles_with_presence=stats.tiles_with_presence,
                passed=stats.passed,
                looks=self.looks.before(tile_row),
            )
        )

    def _count(self, parcel: Parcel, prediction: Prediction) -> None:
        if parcel.look_row is not None:
            self.stats.looks += parcel.count
            self.looks.add(parcel.look_row, parcel.count)
            self.verdicts.put(prediction.presence[: parcel.count].copy())
            return
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
                self.stats.passed += step.passed
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
    triage: float | None = None,
) -> StreamStats:
    """Map `source` with `engine` over `grid`, and hand the finished rows to `emit` in its own thread.

    `seen` is told what the network says of each tile as a whole. `track` says where to begin, if not at the top, and
    is told where batches begin. `stages` takes the times, one's own where it listens to them. With `triage`, tiles are
    looked at by twos at half the resolution first, and only those are inferred where the presence of a look reaches it;
    the others are no landslide.
    Where reading is the bottleneck for a while, or the engine becomes slower, that is logged as a warning, once.
    Raises whatever source, engine or emit raise first; nothing runs any more when it returns or raises.
    """
    state = _Stream(source, engine, grid, track or Track(grid), stages or Stages())
    if triage is not None:
        state.scout(triage)
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
