"""What quantized files look like for the engines that run them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.calib.histogram import Histogram
from calanddet.calib.methods import Method
from calanddet.runtime.errors import OptionError

__all__ = ["CPU", "TARGETS", "TENSORRT", "Levels", "Range", "Ranges", "Target", "target_by_name"]

TargetName = Literal["tensorrt", "cpu"]
Int8: TypeAlias = NDArray[np.int8]
WEIGHT_LIMIT = 127
LEAST_SCALE = 2.0**-20
"""Least step between levels; float16 holds it, and a tensor that is always 0 needs one too."""


@dataclass(frozen=True, slots=True)
class Range:
    """What the levels of an activation cover, low <= 0 <= high. Raises OptionError otherwise."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low <= 0.0 <= self.high):
            raise OptionError(f"a range is finite and holds 0, not {self.low} .. {self.high}")


Ranges: TypeAlias = Mapping[str, Range]
"""The range of each tensor that enters a quantized Linear, by its name."""


@dataclass(frozen=True, slots=True)
class Levels:
    """x is stored as round(x / scale) + zero_point, saturated to the type: int8 where symmetric, else uint8."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Target:
    """symmetric: activations are int8 with zero point 0, else uint8 with the zero point where it belongs.

    Weights are int8 from -127 to 127, a scale for each output. pairs: whether two weights that a kernel adds up in 16
    bits are kept from saturating. least_inner: a Linear with fewer inputs gains nothing and stays as it is; half:
    whether float16 files are taken.
    """

    name: TargetName
    symmetric: bool
    pairs: bool
    least_inner: int
    half: bool

    def range_of(self, histogram: Histogram, method: Method) -> Range:
        """What `method` would cover."""
        if self.symmetric:
            threshold = method.threshold(histogram)
            return Range(-threshold, threshold)
        return Range(*method.ends(histogram))

    def levels(self, covered: Range, *, half: bool) -> Levels:
        """Scale, as float32 or float16 holds it, and zero point of an activation."""
        if self.symmetric:
            return Levels(_rounded(max(-covered.low, covered.high) / 127, half), 0)
        scale = _rounded((covered.high - covered.low) / 255, half)
        return Levels(scale, int(np.clip(np.rint(-covered.low / scale), 0, 255)))

    def weight_levels(self, weight: NDArray[np.float32], *, half: bool) -> tuple[Int8, NDArray[np.float32]]:
        """int8 (inner, outer) and float32 (outer,), weight ~ int8 * scale; scales are numbers of the file's type."""
        peaks = np.abs(weight).max(axis=0)
        if self.pairs:
            peaks = np.maximum(peaks, _pair_peaks(weight))
        # Rounding lifts a pair by one step at most, so that 127 steps become 128.
        scales = np.array([_rounded(peak / WEIGHT_LIMIT, half) for peak in peaks], np.float32)
        stored = np.clip(np.rint(weight / scales.astype(np.float64)), -WEIGHT_LIMIT, WEIGHT_LIMIT)
        return stored.astype(np.int8), scales


def _pair_peaks(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Greatest magnitude that two neighbouring inputs can add up to, float32 (outer,): rows 0 and 1, 2 and 3, ..."""
    even = np.concatenate([weight, np.zeros((len(weight) % 2, weight.shape[1]), np.float32)])
    sides = [np.maximum(even, 0), np.maximum(-even, 0)]
    return np.asarray(np.max([(side[0::2] + side[1::2]).max(axis=0) for side in sides], axis=0), np.float32)


def _rounded(scale: float, half: bool) -> float:
    return float((np.float16 if half else np.float32)(max(scale, LEAST_SCALE)))


TENSORRT = Target("tensorrt", symmetric=True, pairs=False, least_inner=1, half=True)
"""TensorRT's rules: int8 on both sides, zero points 0. The file's other values keep their precision."""

CPU = Target("cpu", symmetric=False, pairs=True, least_inner=96, half=False)
"""What ONNX Runtime's MatMulIntegerToFloat does best: uint8 x int8.

Without VNNI that product adds the products of two neighbouring inputs in 16 bits (vpmaddubsw), which saturate beyond
32767. Two such weights of one sign add up to 128 at most, and 255 x 128 = 32640. Most weights keep eight bits by that,
where seven for each would be safe too, and coarser. From 96 inputs on INT8 gains with and without VNNI, below hardly at
all (docs/design/int8.md).
"""

TARGETS: dict[str, Target] = {target.name: target for target in (TENSORRT, CPU)}


def target_by_name(name: str) -> Target:
    """The target called `name`. Raises OptionError where there is none."""
    if name not in TARGETS:
        raise OptionError(f"there is no target {name!r}; there are {', '.join(TARGETS)}")
    return TARGETS[name]
