"""A quick look at a quantized graph: its logits on a few labelled tiles, beside those of the float graph."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, log10

import numpy as np
import onnx
from numpy.typing import NDArray

from calanddet.calib.session import WatchedSession
from calanddet.runtime.errors import InputError, ModelError
from calanddet.runtime.evaluation.comparison import Compared, Differences
from calanddet.runtime.evaluation.samples import Sample
from calanddet.runtime.metrics import count
from calanddet.runtime.spec import NODATA, SCALE, threshold_byte
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Measure", "Probe", "ProbeTiles", "cut_tiles", "logits_of"]

BATCH = 4
Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ProbeTiles:
    """rgb: uint8, (N, T, T, 3); truth: uint8, (N, T, T), landslide where not 0; source: of each, N names.

    valid: bool, (N, T, T), False where neither is known.
    """

    rgb: Bytes
    truth: Bytes
    valid: Bool
    source: tuple[str, ...]


def cut_tiles(samples: Iterable[Sample], tile: int, *, most: int) -> ProbeTiles:
    """Whole tiles side by side out of `samples`, the first `most` of each source.

    A sample smaller than a tile is passed over, and so is a tile of nodata. Raises InputError where no tile is left.
    """
    rgb, truth, valid, source = list[Bytes](), list[Bytes](), list[Bool](), list[str]()
    for sample in samples:
        rows, cols = sample.truth.shape
        known = np.ones((rows, cols), np.bool_) if sample.valid is None else sample.valid
        if min(rows, cols) < tile:
            continue
        for window in TileGrid.cover((rows // tile * tile, cols // tile * tile), tile, 0):
            if source.count(sample.source) == most:
                break
            place = (slice(window.row, window.stop_row), slice(window.col, window.stop_col))
            if not known[place].any():
                continue
            rgb.append(sample.rgb[place])
            truth.append(sample.truth[place])
            valid.append(known[place])
            source.append(sample.source)
    if not rgb:
        raise InputError(f"no labelled image is as large as a tile of {tile} pixels, nodata apart: give larger ones")
    return ProbeTiles(np.stack(rgb), np.stack(truth), np.stack(valid), tuple(source))


@dataclass(frozen=True, slots=True)
class Measure:
    """snr: of the logits, 10 log10(sum x^2 / sum (x - y)^2), dB, infinite where they are equal; groups: by source."""

    snr: float
    groups: Mapping[str, Compared]

    @property
    def iou_drop(self) -> float:
        """The greatest one of all groups."""
        return max(group.iou_drop for group in self.groups.values())

    @property
    def agreement(self) -> float:
        """The least one of all groups."""
        return min(group.differences.agreement for group in self.groups.values())


class Probe:
    """Measures graphs against `reference`, whose logits on `tiles` it keeps; threads: 0 takes every core."""

    def __init__(self, reference: onnx.ModelProto, tiles: ProbeTiles, *, threshold: float, threads: int = 0) -> None:
        self._tiles, self._threads, self._threshold = tiles, threads, threshold
        self._reference = self._logits(reference)

    def measure(self, model: onnx.ModelProto) -> Measure:
        """How far a graph is from the reference. Raises ModelError where it cannot be run."""
        found = self._logits(model)
        before, after = (logits[self._tiles.valid].astype(np.float64) for logits in (self._reference, found))
        noise, signal = float(np.sum((after - before) ** 2)), float(np.sum(before**2))
        snr = 10 * log10(signal / noise) if noise and signal else inf
        groups = {}
        for name in dict.fromkeys(self._tiles.source):
            those = np.array([source == name for source in self._tiles.source])
            groups[name] = self._compared(_bytes(self._reference[those]), _bytes(found[those]), those)
        return Measure(snr, groups)

    def _compared(self, before: Bytes, after: Bytes, those: NDArray[np.bool_]) -> Compared:
        truth, valid, threshold = self._tiles.truth[those], self._tiles.valid[those], self._threshold
        before, after = (np.where(valid, one, np.uint8(NODATA)) for one in (before, after))
        differences = Differences.of(before, after, threshold_byte(threshold))
        counts = [count(one, truth, threshold=threshold) for one in (before, after)]
        return Compared(len(truth), differences, *counts)

    def _logits(self, model: onnx.ModelProto) -> Logits:
        session = WatchedSession(model, [logits_of(model)], what="the quantized model", threads=self._threads)
        rgb = self._tiles.rgb
        parts = [session.run(rgb[at : at + BATCH])[0] for at in range(0, len(rgb), BATCH)]
        return np.concatenate(parts).astype(np.float32)


def logits_of(model: onnx.ModelProto) -> str:
    """The name of the logits: what enters the Sigmoid behind the output `probability`. Raises ModelError."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    name: str = "probability"
    while (node := made_by.get(name)) is not None:
        name = node.input[0]
        if node.op_type == "Sigmoid":
            return str(name)
    raise ModelError("the model's output `probability` is no sigmoid of anything: is it a CALandDet export?")


def _bytes(logits: Logits) -> Bytes:
    """floor(254 sigmoid(logit)), as the graph does it, but for the last bit of the sigmoid."""
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return np.floor(SCALE * probability).astype(np.uint8)
