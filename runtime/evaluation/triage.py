"""What triage would lose and spare: whole maps of images with masks, and what a first look says of the same ground."""

from collections.abc import Iterable
from operator import length_hint
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import InputError
from calanddet.runtime.evaluation.judge import EvaluationOptions, Progress
from calanddet.runtime.evaluation.samples import Sample
from calanddet.runtime.model import Model
from calanddet.runtime.spec import NODATA, threshold_byte
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.triage import DECIMATION, ScoutGrid, TriageFigures, TriagePoint, decimated
from calanddet.runtime.types import Bool, Bytes, Window

__all__ = ["looked_at", "measure_triage"]

PRESENCES = tuple(round(0.05 * step, 2) for step in range(1, 20))

Floats = NDArray[np.float32]


def measure_triage(
    model: Model,
    samples: Iterable[Sample],
    *,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> TriageFigures:
    """What a first look loses of the landslides in `samples`, at presences from 0.05 to 0.95, one sample in memory.

    A landslide pixel is one that the whole map and the mask both show; it counts as lost where no look that covers it
    is promising, although a tile that is worth it for another reason may bring it back. Raises InputError for no sample
    or one that cannot be read, EngineError where inference fails.
    """
    options, total, tally = options or EvaluationOptions(), length_hint(samples), _Tally()
    threshold = threshold_byte(model.spec.threshold if options.threshold is None else options.threshold)
    for sample in samples:
        rows, cols = sample.truth.shape
        grid = ScoutGrid.over(TileGrid.cover((rows, cols), model.spec.tile, options.overlap))
        probability = model.predict(sample.rgb, valid=sample.valid, overlap=options.overlap, blend=options.blend)
        valid = probability != NODATA
        found = valid & (probability >= threshold) & (sample.truth != 0)
        rgb = sample.rgb if sample.valid is None else sample.rgb * sample.valid[..., None]
        tally.add(grid, looked_at(model.engine, grid, rgb, valid), found, valid)
        if progress is not None:
            progress(tally.images, total)
    if not tally.images:
        raise InputError("there is no image to measure triage on: give at least one pair of image and mask")
    return tally.figures(model, {"overlap": options.overlap, "blend": options.blend, "decimation": DECIMATION})


def looked_at(engine: Engine, grid: ScoutGrid, rgb: Bytes, valid: Bool) -> Floats:
    """What the network says at the first look: float32, (look rows, look columns), -inf where no pixel is valid.

    rgb: uint8, (H, W, 3), black where not `valid`, bool, (H, W). Batches are those of the stream: rows by themselves.
    """
    looks = grid.looks
    presence = np.full((looks.rows.count, looks.cols.count), -np.inf, np.float32)
    for row in range(looks.rows.count):
        windows = [grid.window(row, col) for col in range(looks.cols.count)]
        held = [col for col, window in enumerate(windows) if valid[_inside(window)].any()]
        for begin in range(0, len(held), engine.batch):
            cols = held[begin : begin + engine.batch]
            tiles = np.zeros((engine.batch, grid.tiles.rows.tile, grid.tiles.cols.tile, 3), np.uint8)
            for slot, col in enumerate(cols):
                tiles[slot] = decimated(_cut(rgb, windows[col]))
            presence[row, cols] = engine.submit(tiles).result().presence[: len(cols)]
    return presence


class _Tally:
    """Counts over images: landslide pixels and tiles by the highest presence of their looks."""

    def __init__(self) -> None:
        self.images = self._looks = 0
        self._pixels: list[tuple[Floats, NDArray[np.int64]]] = []
        self._tiles: list[Floats] = []

    def add(self, grid: ScoutGrid, presence: Floats, found: Bool, valid: Bool) -> None:
        """An image; presence: (look rows, look columns); found, valid: (H, W)."""
        self.images += 1
        self._looks += int(np.isfinite(presence).sum())
        score = np.full(found.shape, -np.inf, np.float32)
        for (row, col), value in np.ndenumerate(presence):
            inside = _inside(grid.window(row, col))
            score[inside] = np.maximum(score[inside], value)
        scores, counts = np.unique(score[found], return_counts=True)
        self._pixels.append((scores, counts.astype(np.int64)))
        holds = [valid[_inside(window)].any() for window in grid.tiles]
        self._tiles.append(grid.highest(presence).reshape(-1)[np.array(holds, np.bool_)])

    def figures(self, model: Model, about: dict[str, Any]) -> TriageFigures:
        """The figures of all images."""
        tiles, info = np.concatenate(self._tiles), model.info
        pixels = sum(int(counts.sum()) for _, counts in self._pixels)
        return TriageFigures(
            model_sha256=info.model_sha256,
            images=self.images,
            pixels=pixels,
            tiles=tiles.size,
            looks=self._looks,
            curve=tuple(self._point(presence, tiles, max(1, pixels)) for presence in PRESENCES),
            about={**about, "engine": info.engine, "device": info.device, "precision": info.precision},
        )

    def _point(self, presence: float, tiles: Floats, pixels: int) -> TriagePoint:
        bound = np.float32(presence)
        lost = sum(int(counts[scores < bound].sum()) for scores, counts in self._pixels)
        blind = sum(bool(scores.size) and bool((scores < bound).all()) for scores, _ in self._pixels)
        return TriagePoint(presence, round(lost / pixels, 6), blind, round(float((tiles < bound).mean()), 6))


def _inside(window: Window) -> tuple[slice, slice]:
    """The part of an array that a window covers, as far as it is inside."""
    return slice(window.row, window.stop_row), slice(window.col, window.stop_col)


def _cut(rgb: Bytes, window: Window) -> Bytes:
    """The pixels of a window, black beyond the image."""
    part = rgb[_inside(window)]
    whole: Bytes = np.zeros((window.height, window.width, 3), np.uint8)
    whole[: part.shape[0], : part.shape[1]] = part
    return whole
