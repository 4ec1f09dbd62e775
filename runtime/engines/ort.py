"""ONNX Runtime on a CPU, or on any other provider that takes and gives host memory: the engine of every machine."""

import os
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from calanddet.runtime.engines.ort_session import (
    CPU,
    OnnxModel,
    check_contract,
    open_session,
    provider_named,
    providers,
    session_spec,
)
from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.engines.worker import WAITING, Worker, pieces
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["OrtEngine", "OrtOptions", "providers", "usable_cores"]

EXACT = {"session.x64quantprecision": "1"}
"""Has ONNX Runtime's INT8 kernels add up in 32 bits on every CPU, slower where there is no VNNI."""


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class OrtOptions:
    """provider: ONNX Runtime's name, in full or without "ExecutionProvider"; threads: 0 takes every usable core.

    lanes: see EngineOptions.
    """

    provider: str = "cpu"
    threads: int = 0
    batch: int = 8
    lanes: int = 0


class OrtEngine:
    """An ONNX of the contract in an ONNX Runtime session."""

    def __init__(self, path: Path, options: OrtOptions = OrtOptions(), *, reason: str = "") -> None:
        """Load `path`; reason: for EngineInfo.

        Raises ModelError for a file that is not a CALandDet ONNX, EngineError for a provider that cannot run it.
        """
        model = OnnxModel.read(path)
        provider = provider_named(options.provider)
        threads = options.threads or usable_cores()
        self.batch = options.batch
        lanes = min(options.lanes or threads, threads, len(pieces(self.batch))) if provider == CPU else 1
        # A session's pool serves all lanes: with a thread a lane it is empty, and no operator is divided.
        pool = 1 + threads - lanes
        self._session = open_session(model, [(provider, {})], threads=pool)
        self.spec = session_spec(path, self._session)
        if provider == CPU and self.spec.calibration.get("target") == "tensorrt":
            # Its weights fill int8, and products of two such saturate in 16 bits where the CPU has no VNNI.
            self._session = open_session(model, [(provider, {})], threads=pool, config=EXACT)
        check_contract(path, self._session, self.spec.tile)
        self.info = EngineInfo(
            engine=f"ONNX Runtime {ort.__version__}",
            device=provider.removesuffix("ExecutionProvider"),
            precision=self.spec.precision,
            model_sha256=model.sha256,
            threads=threads if provider == CPU else 0,
            in_flight=WAITING,
            reason=reason,
        )
        shape = (self.batch, self.spec.tile, self.spec.tile, 3)
        self._worker = Worker("ONNX Runtime", shape, self._infer, lanes=lanes)

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """See Engine.submit."""
        return self._worker.submit(tiles)

    def _infer(self, tiles: Bytes) -> Prediction:
        probability, presence = self._session.run(["probability", "presence"], {"tiles": tiles})
        return Prediction(probability, presence)

    def close(self) -> None:
        """Stop the thread and free the session; idempotent."""
        self._worker.close()
        self._session = None
