"""Running the float model over the calibration tiles, and what its activations look like."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from calanddet.calib.histogram import Histogram
from calanddet.calib.sampler import Progress
from calanddet.calib.session import WatchedSession
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
    session = WatchedSession(model, names, what="the model to be calibrated", threads=threads)
    found = {name: Observation() for name in names}
    done, total = 0, len(tiles)
    for batch in tiles.batches(BATCH):
        for name, values in zip(names, session.run(batch), strict=True):
            try:
                found[name].add(values)
            except ModelError as error:
                raise ModelError(f"{name} cannot be quantized, for {error} on a calibration tile") from error
        done += len(batch)
        if progress is not None:
            progress(done, total)
    return found
