"""How overlapping tiles share a pixel: rules that give each tile integer weights along an axis.

A tile's weight at (row, col) is the product of its two axis weights. Along either axis the weights of all tiles over
a pixel sum to UNIT exactly, so the products sum to UNIT squared = 2**16 and a mosaic is finished by a shift: no
second buffer of weights, no division, no rounding that depends on order.
"""

from itertools import pairwise
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import OptionError
from calanddet.runtime.tiling import Axis

__all__ = ["FADE", "RULES", "UNIT", "AxisWeights", "BlendRule", "CentreCrop", "Cut", "Feather", "Hann", "rule_by_name"]

UNIT = 256
"""Sum of the axis weights over a pixel."""

HEAD, FADE = 32.0, 16
"""Pixels: how much less Feather makes of distance from the rim, and the width over which it fades a tile in."""

AxisWeights: TypeAlias = NDArray[np.uint16]
"""uint16, (tiles, tile side), 0..UNIT."""


class BlendRule(Protocol):
    """A partition of each pixel among the tiles that cover it."""

    @property
    def name(self) -> str:
        """The name by which the command line and the report know the rule."""
        ...

    def weights(self, axis: Axis) -> AxisWeights:
        """Weights of every tile of `axis`; they sum to UNIT over each pixel of the axis."""
        ...


class Cut:
    """Each pixel belongs to the first tile that covers it: no seam treatment, the cheapest and the worst."""

    name = "cut"

    def weights(self, axis: Axis) -> AxisWeights:
        """UNIT from where the previous tile ends, 0 before."""
        starts = [0, *(origin + axis.tile for origin in axis.origins[:-1])]
        return _owned(axis, starts)


class CentreCrop:
    """Each pixel belongs to the tile whose centre is nearest: the authors' rule at 50 % overlap, any overlap here."""

    name = "crop"

    def weights(self, axis: Axis) -> AxisWeights:
        """UNIT between the middles of a tile's overlaps, 0 outside; whole to the raster's edges."""
        origins = axis.origins
        pairs = pairwise(origins)
        starts = [0, *((before + axis.tile + after) // 2 for before, after in pairs)]
        return _owned(axis, starts)


class Feather:
    """The mean of the tiles over a pixel, weighted by its distance from their rims; whole to the raster's edges.

    Most of what a tile gets wrong is its own and averages out, so no tile is left out; but near its rim it sees less of
    what is around a pixel, and is less often right. At d pixels from the rim its weight is proportional to
    (HEAD + d) sin^2(pi d / (2 FADE)), the second factor up to d = FADE; docs/design/overlap.md has where that is from.
    """

    name = "feather"

    def weights(self, axis: Axis) -> AxisWeights:
        """Shares of the sum, quantized by rounding their running sum, so that they sum to UNIT exactly."""
        depth = np.arange(axis.tile) + 0.5
        rise = (HEAD + depth) * np.sin(np.pi / 2 * np.minimum(depth / FADE, 1.0)) ** 2
        raw = np.full((axis.count, axis.tile), rise[axis.tile // 2])
        raw[1:] = np.minimum(raw[1:], rise)
        raw[:-1] = np.minimum(raw[:-1], rise[::-1])
        return _quantized(axis, raw)


class Hann:
    """Raised-cosine ramps over the overlaps; flat at the raster's edges, where there is no neighbour to share with.

    The ramp is sin^2 (the Hann window's half), whose two sides sum to one.
    """

    name = "hann"

    def weights(self, axis: Axis) -> AxisWeights:
        """Smooth weights, quantized by rounding their running sum, so that they sum to UNIT exactly."""
        tile, origins = axis.tile, axis.origins
        raw = np.ones((axis.count, tile))
        for index in range(axis.count - 1):
            shared = origins[index] + tile - origins[index + 1]
            if shared:
                ramp = np.sin(np.pi / 2 * (np.arange(shared) + 0.5) / shared) ** 2
                raw[index + 1, :shared] *= ramp
                raw[index, tile - shared :] *= ramp[::-1]
        return _quantized(axis, raw)


def _owned(axis: Axis, starts: list[int]) -> AxisWeights:
    """Weights where tile i owns the pixels from starts[i] to starts[i + 1]."""
    weights = np.zeros((axis.count, axis.tile), np.uint16)
    stops = [*starts[1:], axis.length]
    for index, (origin, start, stop) in enumerate(zip(axis.origins, starts, stops, strict=True)):
        weights[index, max(start - origin, 0) : max(stop - origin, 0)] = UNIT
    return weights


def _quantized(axis: Axis, raw: NDArray[np.float64]) -> AxisWeights:
    """Integer weights proportional to `raw`, (tiles, tile side), that sum to UNIT over each pixel."""
    span = max(axis.length, axis.tile)
    total = np.zeros(span)
    for index, origin in enumerate(axis.origins):
        total[origin : origin + axis.tile] += raw[index]
    weights = np.zeros(raw.shape, np.uint16)
    share = np.zeros(span)
    given = np.zeros(span, np.int64)
    for index, origin in enumerate(axis.origins):
        here = slice(origin, origin + axis.tile)
        share[here] += raw[index] / total[here]
        upto = np.floor(share[here] * UNIT + 0.5).astype(np.int64)
        weights[index] = upto - given[here]
        given[here] = upto
    return weights


RULES: dict[str, BlendRule] = {rule.name: rule for rule in (Feather(), Hann(), CentreCrop(), Cut())}


def rule_by_name(name: str) -> BlendRule:
    """The blending rule of that name. Raises OptionError naming the ones there are."""
    try:
        return RULES[name]
    except KeyError:
        raise OptionError(f"there is no blending rule {name!r}; choose one of {', '.join(RULES)}") from None
