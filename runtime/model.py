"""A model ready to map arrays: the shortest way from pixels to probabilities."""

import logging
from pathlib import Path
from types import TracebackType

import numpy as np

from calanddet.runtime.blend import rule_by_name
from calanddet.runtime.catalog import resolve_model
from calanddet.runtime.engines.opening import EngineOptions, open_engine
from calanddet.runtime.engines.protocol import Engine, EngineInfo
from calanddet.runtime.pipeline.stream import TileSeen, stream
from calanddet.runtime.plans.builder import PlanBuilder
from calanddet.runtime.presets import DEFAULT, PRESETS
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bool, Bytes

__all__ = ["DEFAULT_BLEND", "DEFAULT_OVERLAP", "Model", "open_model"]

_log = logging.getLogger(__name__)

DEFAULT_OVERLAP = PRESETS[DEFAULT].overlap
"""Pixels that neighbouring tiles share; chosen by measurement, see docs/design/overlap.md."""
DEFAULT_BLEND = PRESETS[DEFAULT].blend
"""How they are joined."""


class Model:
    """An open engine with its description; a context manager that closes it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def spec(self) -> ModelSpec:
        """The model's description of itself."""
        return self.engine.spec

    @property
    def info(self) -> EngineInfo:
        """Device, precision and provenance."""
        return self.engine.info

    def predict(
        self,
        image: Bytes,
        *,
        valid: Bool | None = None,
        overlap: int = DEFAULT_OVERLAP,
        blend: str = DEFAULT_BLEND,
        seen: TileSeen | None = None,
    ) -> Bytes:
        """Probability of landslide for an image of any size: uint8, (H, W), floor(254 p), 255 where not valid.

        image: uint8, (H, W, 3), RGB; valid: bool, (H, W). Tiled and blended as `run` does it.
        seen: told the presence of each tile of TileGrid.cover(shape, tile, overlap) that holds a valid pixel.
        Raises InputError for another array, OptionError for an overlap or rule that there is not.
        """
        source = ArraySource(image, valid=valid)
        grid = TileGrid.cover(source.info.shape, self.spec.tile, overlap)
        probability = np.empty(source.info.shape, np.uint8)

        def keep(row: int, band: Bytes) -> None:
            probability[row : row + band.shape[0]] = band

        stream(source, self.engine, grid, rule=rule_by_name(blend), emit=keep, seen=seen)
        return probability

    def close(self) -> None:
        """Release the engine; idempotent."""
        self.engine.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_model(
    model: str | Path, *, engine: EngineOptions = EngineOptions(), build: PlanBuilder | None = None
) -> Model:
    """Open an ONNX file, a TensorRT plan, or a model that ships in the package by its name (`calanddet-edge`).

    build: makes a plan where TensorRT needs one, such as `calanddet.export.engine.build_plan`; see open_engine.
    A warning is logged, every time, for an INT8 model that failed its gate or never met one.
    Raises ModelError where the file is not a CALandDet model, EngineError where it cannot run as asked.
    """
    opened = Model(open_engine(resolve_model(model), engine, build=build))
    if opened.spec.doubt:
        _log.warning("%s", opened.spec.doubt)
    return opened
