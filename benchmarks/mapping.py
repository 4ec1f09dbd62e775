"""How long a whole image takes: through the stream from each kind of file, and through `run` with all it writes."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from calanddet.benchmarks.clock import Clock
from calanddet.benchmarks.imagery import Imagery
from calanddet.runtime.blend import rule_by_name
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import CalanddetError
from calanddet.runtime.mapping import MapOptions, run
from calanddet.runtime.model import DEFAULT_BLEND, Model
from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.pipeline.stream import stream
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes

__all__ = ["RUN", "MapLane", "map_rounds"]

RUN = "run"
"""The form that stands for `run` on a JPEG GeoTIFF: rasters, polygons, preview and report included."""


@dataclass(slots=True, eq=False)
class MapLane:
    """One engine on one image in one form (see imagery.FORMS, or RUN), and what was measured.

    seconds: of each round; stages: wall seconds of each entry of each stage, over all rounds (for RUN the sums of
    each round); tiles, pixels: inferred and mapped in all rounds.
    """

    name: str
    engine: Engine
    imagery: Imagery
    form: str
    seconds: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    tiles: int = 0
    pixels: int = 0
    problem: str = ""


def map_rounds(
    lanes: Sequence[MapLane],
    clock: Clock,
    *,
    rounds: int,
    overlap: int,
    folder: Path,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Map every lane's image in each round, in random order; a lane that fails keeps what it has.

    A round before the first warms up and is not kept. `folder` takes what `run` writes.
    """
    order = Random(seed)
    for number in range(-1, rounds):
        alive = [lane for lane in lanes if not lane.problem]
        order.shuffle(alive)
        for lane in alive:
            try:
                _map_once(lane, clock, overlap, folder, kept=number >= 0)
            except CalanddetError as error:
                lane.problem = str(error)
        if progress is not None:
            progress((number + 2) / (rounds + 1))


def _map_once(lane: MapLane, clock: Clock, overlap: int, folder: Path, *, kept: bool) -> None:
    entries: dict[str, list[float]] = {}
    before = clock.now()
    if lane.form == RUN:
        tiles, pixels = _whole(lane, overlap, folder, entries)
    else:
        tiles, pixels = _streamed(lane, overlap, entries)
    seconds = clock.now() - before
    if not kept:
        return
    lane.seconds.append(seconds)
    lane.tiles += tiles
    lane.pixels += pixels
    for name, times in entries.items():
        lane.stages.setdefault(name, []).extend(times)


def _streamed(lane: MapLane, overlap: int, entries: dict[str, list[float]]) -> tuple[int, int]:
    """Read, cut, infer and blend; finished rows are dropped. (tiles inferred, pixels of the image)."""
    stages = Stages(listener=lambda name, seconds: entries.setdefault(name, []).append(seconds))

    def drop(row: int, band: Bytes) -> None:
        """Nothing is written."""

    with closing(lane.imagery.open(lane.form)) as source:
        grid = TileGrid.cover(source.info.shape, lane.engine.spec.tile, overlap)
        stats = stream(source, lane.engine, grid, rule=rule_by_name(DEFAULT_BLEND), emit=drop, stages=stages)
        return stats.tiles, source.info.shape[0] * source.info.shape[1]


def _whole(lane: MapLane, overlap: int, folder: Path, entries: dict[str, list[float]]) -> tuple[int, int]:
    options = MapOptions(overlap=overlap, overwrite=True)
    (result,) = run(Model(lane.engine), lane.imagery.file("jpeg"), folder / "maps", options=options)
    for name, seconds in result.report["stages"].items():
        entries[name] = [float(seconds)]
    return int(result.report["tiles"]["inferred"]), int(result.report["inputs"][0]["valid_pixels"])
