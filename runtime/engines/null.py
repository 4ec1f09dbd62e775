"""An engine without a network: it gives back a channel of its input, so that the stream is tested by itself."""

from concurrent.futures import Future

import numpy as np

from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.engines.worker import WAITING, Worker
from calanddet.runtime.spec import SCALE, ModelSpec
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["NullEngine"]


class NullEngine:
    """probability = min(channel, 254): a right stream with this engine reproduces its input."""

    def __init__(self, *, batch: int = 8, channel: int = 0, tile: int = 224) -> None:
        self.spec = ModelSpec(name="null", tile=tile, precision="uint8")
        self.info = EngineInfo(engine="null", device="cpu", precision="uint8", model_sha256="0" * 64, in_flight=WAITING)
        self.batch = batch
        self._channel = channel
        self._worker = Worker("null", (batch, tile, tile, 3), self._infer)

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """See Engine.submit; presence is 1 where any byte of the channel is 127 or more."""
        return self._worker.submit(tiles)

    def _infer(self, tiles: Bytes) -> Prediction:
        probability = np.minimum(tiles[..., self._channel], np.uint8(SCALE))
        presence = (probability.max(axis=(1, 2)) > SCALE // 2 - 1).astype(np.float32)
        return Prediction(probability, presence)

    def close(self) -> None:
        """Stop the thread; idempotent."""
        self._worker.close()
