"""Engines without a network whose results tests can compute another way."""

from concurrent.futures import Future
from typing import Any

import numpy as np

from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["SlantedEngine", "slanted"]


def slanted(tiles: Bytes) -> Bytes:
    """uint8 (N, T, T): the red channel, which counts the less the further right and, by half as much, down it is."""
    side = tiles.shape[1]
    share = 1.0 - (np.arange(side)[None, :] + np.arange(side)[:, None] / 2) / (2 * side)
    slanted: Bytes = np.minimum(tiles[..., 0] * share, 254).astype(np.uint8)
    return slanted


class _Taken(Future[Prediction]):
    """Tells its engine when its result is taken."""

    def __init__(self, engine: "SlantedEngine") -> None:
        super().__init__()
        self._engine = engine

    def result(self, timeout: float | None = None) -> Prediction:
        self._engine.waiting -= 1
        return super().result(timeout)


class SlantedEngine:
    """probability = slanted(tiles), presence = mean red of the upper half / 255: neither is symmetric.

    most_waiting: most results that were not taken at a time. It computes when it is asked.
    """

    def __init__(self, *, tile: int = 32, batch: int = 2, in_flight: int = 1) -> None:
        self.spec = ModelSpec(name="slanted", tile=tile)
        self.info = EngineInfo("slanted", "cpu", "uint8", "0" * 64, in_flight=in_flight)
        self.batch = batch
        self.waiting = self.most_waiting = 0
        self.closed = False

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        future = _Taken(self)
        future.set_result(Prediction(slanted(tiles), self.presence(tiles)))
        return future

    @staticmethod
    def presence(tiles: Bytes) -> Any:
        return tiles[:, : tiles.shape[1] // 2, :, 0].mean(axis=(1, 2), dtype=np.float32) / np.float32(255)

    def close(self) -> None:
        self.closed = True
