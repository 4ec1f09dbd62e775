"""Running the float model over the calibration tiles, and what its activations look like."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from calanddet.calib.histogram import Histogram
from calanddet.calib.sampler import Progress
from calanddet.calib.tilestore import TileStore
from calanddet.runtime.errors import ModelError

__all__ = ["BATCH", "Observation", "observe"]

BATCH = 2
"""Tiles at a time: all activations of a batch that are looked at are in memory at once, 48 MB a tile at full size."""


@dataclass(slots=True)
class Observation:
    """The distribution of one tensor, and the greatest magnitude of each channel, float32 (C,), its last axis."""

    histogram: Histogram = field(default_factory=Histogram)
    peaks: NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))

    def add(self, values: NDArray[Any]) -> None:
        """Take values of (..., C) into account. Raises ModelError where one is not finite."""
        self.histogram.add(values)
        peaks = np.abs(values).max(axis=tuple(range(values.ndim - 1)))
        self.peaks = np.maximum(self.peaks, peaks.astype(np.float32))


def observe(
    model: onnx.ModelProto,
    tensors: Iterable[str],
    tiles: TileStore,
    *,
    threads: int = 0,
    progress: Progress | None = None,
) -> Mapping[str, Observation]:
    """What each of `tensors` of the model holds over `tiles`, from ONNX Runtime on the CPU.

    Memory does not grow with the number of tiles. threads: 0 takes every core.
    Raises ModelError where the model cannot be run or an activation is not finite.
    """
    names = sorted(set(tensors))
    session = _session(model, names, threads)
    found = {name: Observation() for name in names}
    done, total = 0, len(tiles)
    for batch in tiles.batches(BATCH):
        for name, values in zip(names, _run(session, names, batch), strict=True):
            try:
                found[name].add(values)
            except ModelError as error:
                raise ModelError(f"{name} cannot be quantized, for {error} on a calibration tile") from error
        done += len(batch)
        if progress is not None:
            progress(done, total)
    return found


def _session(model: onnx.ModelProto, names: Sequence[str], threads: int) -> Any:
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for name in names:
        # ONNX Runtime infers type and shape itself.
        watched.graph.output.append(helper.make_value_info(name, onnx.TypeProto()))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes as an exception
    try:
        return ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common root
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"ONNX Runtime cannot run the model to be calibrated: {reason}") from error


def _run(session: Any, names: Sequence[str], batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
    try:
        result: list[NDArray[Any]] = session.run(list(names), {"tiles": batch})
    except Exception as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"the model to be calibrated failed on a tile: {reason}") from error
    return result
