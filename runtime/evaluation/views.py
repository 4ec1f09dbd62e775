"""An engine that looks at each tile several times, mirrored and turned, and gives the mean."""

from collections import deque
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.engines.protocol import Engine, EngineInfo
from calanddet.runtime.engines.worker import WAITING, Worker
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["ViewsEngine"]

View: TypeAlias = tuple[bool, int]
"""(mirrored left to right, then turned by so many quarters)."""


def _views(*, flips: bool, turns: bool) -> tuple[View, ...]:
    """The subgroup of the square's symmetries; the tile as it is comes first."""
    if flips and turns:
        return tuple((mirrored, quarter) for mirrored in (False, True) for quarter in range(4))
    if turns:
        return tuple((False, quarter) for quarter in range(4))
    # Mirrored up and down is mirrored left and right and turned by two quarters.
    return ((False, 0), (True, 0), (True, 2), (False, 2)) if flips else ((False, 0),)


class ViewsEngine:
    """Test-time augmentation within a tile, so that tiling, blending and bytes stay the product's.

    probability = floor(sum of the views' bytes / views), presence the views' mean. With one view it hands through.
    The engine inside stays open when this one is closed: whoever opened it closes it.
    """

    def __init__(self, engine: Engine, *, flips: bool = False, turns: bool = False) -> None:
        self._engine, self._views = engine, _views(flips=flips, turns=turns)
        self.batch = engine.batch
        tile = engine.spec.tile
        self._worker = Worker("views", (self.batch, tile, tile, 3), self._infer)

    @property
    def views(self) -> int:
        """How often a tile is looked at: 1, 4 or 8."""
        return len(self._views)

    @property
    def spec(self) -> ModelSpec:
        """The model's description of itself."""
        return self._engine.spec

    @property
    def info(self) -> EngineInfo:
        """That of the engine inside, but for what may be in flight."""
        return self._engine.info if self.views == 1 else replace(self._engine.info, in_flight=WAITING)

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """See Engine.submit."""
        return self._engine.submit(tiles) if self.views == 1 else self._worker.submit(tiles)

    def _infer(self, tiles: Bytes) -> Prediction:
        """All views through the engine inside, as many at a time as it takes."""
        total = np.zeros(tiles.shape[:3], np.uint16)
        presence = np.zeros(len(tiles), np.float32)
        waiting: deque[tuple[View, Bytes, Future[Prediction]]] = deque()
        for view in self._views:
            if len(waiting) == self._engine.info.in_flight:
                presence += _taken(waiting, total)
            seen = _seen(tiles, view)
            waiting.append((view, seen, self._engine.submit(seen)))  # the array is the engine's until it is done
        while waiting:
            presence += _taken(waiting, total)
        return Prediction((total // self.views).astype(np.uint8), presence / np.float32(self.views))

    def close(self) -> None:
        """Stop the thread of this engine; idempotent."""
        self._worker.close()


def _taken(waiting: "deque[tuple[View, Bytes, Future[Prediction]]]", total: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Wait for the first that waits, add its bytes to `total` in place, and give its presence."""
    (mirrored, quarter), _, future = waiting.popleft()
    prediction = future.result()
    back = np.rot90(prediction.probability, -quarter, axes=(1, 2))
    total += back[:, :, ::-1] if mirrored else back
    return prediction.presence


def _seen(tiles: Bytes, view: View) -> Bytes:
    """Tiles, uint8 (N, T, T, 3), as the view shows them, in an array of their own."""
    mirrored, quarter = view
    flipped = tiles[:, :, ::-1] if mirrored else tiles
    return np.ascontiguousarray(np.rot90(flipped, quarter, axes=(1, 2)))
