"""ONNX Runtime with its tensors on a device, one batch after the other: where no package reaches CUDA's streams."""

from concurrent.futures import Future
from typing import Any

import numpy as np
import onnxruntime as ort

from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.engines.worker import Worker
from calanddet.runtime.errors import EngineError
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["BoundEngine"]


class BoundEngine:
    """A session whose inputs and outputs stay in memory of the device that computes."""

    def __init__(self, session: Any, spec: ModelSpec, info: EngineInfo, *, batch: int, device: str = "cuda") -> None:
        """Take over an open session. Raises EngineError where the device has no memory for the tensors."""
        self.spec, self.batch, self.info = spec, batch, info
        shape = (batch, spec.tile, spec.tile)
        self._session = session
        self._binding = session.io_binding()
        try:
            self._tiles = ort.OrtValue.ortvalue_from_shape_and_type((*shape, 3), np.uint8, device, 0)
            self._probability = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.uint8, device, 0)
            self._presence = ort.OrtValue.ortvalue_from_shape_and_type((batch,), np.float32, device, 0)
        except Exception as error:
            raise EngineError(f"ONNX Runtime has no memory on {device} for batches of {batch}: {error}") from error
        self._binding.bind_ortvalue_input("tiles", self._tiles)
        self._binding.bind_ortvalue_output("probability", self._probability)
        self._binding.bind_ortvalue_output("presence", self._presence)
        self._worker = Worker(info.engine, (*shape, 3), self._infer)

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """See Engine.submit."""
        return self._worker.submit(tiles)

    def _infer(self, tiles: Bytes) -> Prediction:
        self._tiles.update_inplace(np.ascontiguousarray(tiles))
        self._session.run_with_iobinding(self._binding)
        # Copied: on a CPU device, numpy() may be a view of the memory that the next batch writes.
        return Prediction(self._probability.numpy().copy(), self._presence.numpy().copy())

    def close(self) -> None:
        """Stop the thread and free the session; idempotent."""
        self._worker.close()
        self._session = self._binding = self._tiles = self._probability = self._presence = None
