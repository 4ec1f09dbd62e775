"""Judge a model: map each image as the product does, and compare with the truth."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from operator import length_hint
from typing import Any, TypeAlias

import numpy as np

from calanddet.runtime.blend import rule_by_name
from calanddet.runtime.errors import InputError
from calanddet.runtime.evaluation.evaluation import Evaluation, ImageScore
from calanddet.runtime.evaluation.histogram import Histogram
from calanddet.runtime.evaluation.samples import Sample
from calanddet.runtime.evaluation.views import ViewsEngine
from calanddet.runtime.metrics import Counts, count
from calanddet.runtime.model import DEFAULT_BLEND, DEFAULT_OVERLAP, Model
from calanddet.runtime.spec import SCALE, threshold_byte
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bytes

__all__ = ["EvaluationOptions", "Judged", "Progress", "evaluate"]

Progress: TypeAlias = Callable[[int, int], None]
"""Takes (images done, images in all, 0 where that is not known)."""
Judged: TypeAlias = Callable[[Sample, Bytes, ImageScore], None]
"""Takes a sample, its probability bytes, uint8 (H, W), 255 where not valid, and its score."""


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """threshold: the model's own where None; overlap, blend: as for `run`.

    flips, turns: each tile is also shown mirrored both ways, or in its quarter turns, and the mean is taken: 4 views
    with either, 8 with both. Raises OptionError for a threshold outside (0, 1] or a rule that there is not.
    """

    threshold: float | None = None
    overlap: int = DEFAULT_OVERLAP
    blend: str = DEFAULT_BLEND
    flips: bool = False
    turns: bool = False

    def __post_init__(self) -> None:
        rule_by_name(self.blend)
        if self.threshold is not None:
            threshold_byte(self.threshold)


def evaluate(
    model: Model,
    samples: Iterable[Sample],
    *,
    options: EvaluationOptions = EvaluationOptions(),
    progress: Progress | None = None,
    judged: Judged | None = None,
) -> Evaluation:
    """The accuracy of `model` on `samples`, one in memory at a time.

    The images go through the stream, tiling and blending of `run`, so the figures are those of the product. `judged`
    gets each image's result. An image without a valid pixel is no evidence: it is named in `empty` and not scored.
    Raises InputError for no sample, one that cannot be read, or nodata in all of them, EngineError where inference
    fails, OptionError for an overlap that the model's tile does not allow. The model stays open.
    """
    total, scores, empty = length_hint(samples), list[ImageScore](), list[tuple[str, str]]()
    with closing(ViewsEngine(model.engine, flips=options.flips, turns=options.turns)) as engine:
        seeing = Model(engine)
        for sample in samples:
            probability, score = _judge(seeing, sample, options)
            if not score.pixels.bins.any():
                empty.append((score.source, score.name))
            else:
                scores.append(score)
                if judged is not None:
                    judged(sample, probability, score)
            if progress is not None:
                progress(len(scores) + len(empty), total)
        if empty and not scores:
            raise InputError(f"all pixels of the {len(empty)} image(s) are nodata: there is nothing to judge on")
        threshold = model.spec.threshold if options.threshold is None else options.threshold
        return Evaluation(tuple(scores), threshold, _about(model, options, engine), empty=tuple(empty))


def _judge(model: Model, sample: Sample, options: EvaluationOptions) -> tuple[Bytes, ImageScore]:
    shape = (sample.truth.shape[0], sample.truth.shape[1])
    grid = TileGrid.cover(shape, model.spec.tile, options.overlap)
    presence = np.full((grid.rows.count, grid.cols.count), np.nan, np.float32)

    def keep(tile_row: int, tile_col: int, value: float) -> None:
        presence[tile_row, tile_col] = value

    probability = model.predict(sample.rgb, valid=sample.valid, overlap=options.overlap, blend=options.blend, seen=keep)
    pixels = Histogram.of(probability, sample.truth, valid=sample.valid)
    return probability, ImageScore(sample.source, sample.name, shape, pixels, _tiles(presence, sample, grid))


def _tiles(presence: "np.ndarray[Any, np.dtype[np.float32]]", sample: Sample, grid: TileGrid) -> Counts:
    """Counts of tiles; presence: float32, (tile rows, tile columns), NaN where a tile was not inferred."""
    landslide = sample.truth != 0 if sample.valid is None else (sample.truth != 0) & sample.valid
    holds = [landslide[tile.row : tile.stop_row, tile.col : tile.stop_col].any() for tile in grid]
    inferred = ~np.isnan(presence).reshape(-1)
    found = np.where(presence.reshape(-1) >= 0.5, np.uint8(SCALE), np.uint8(0))
    return count(found, np.array(holds), valid=inferred)


def _about(model: Model, options: EvaluationOptions, engine: ViewsEngine) -> dict[str, Any]:
    info, spec = model.info, model.spec
    return {
        "model": {"name": spec.name, "sha256": info.model_sha256, "precision": info.precision},
        "engine": {"name": info.engine, "device": info.device, "batch": model.engine.batch, "threads": info.threads},
        "tile": spec.tile,
        "overlap": options.overlap,
        "blend": options.blend,
        "views": engine.views,
    }
