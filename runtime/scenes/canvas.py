"""What a block is painted on: a palette index, a shade and the truth of every pixel, and its grain."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.scenes.layers import Layers
from calanddet.runtime.scenes.noise import Field, Lattice, bits, fbm, key, lift
from calanddet.runtime.scenes.palette import TONES, Surface
from calanddet.runtime.scenes.terrain import Ground
from calanddet.runtime.types import Bool

__all__ = ["Canvas", "Indices", "Spots", "blank", "tones"]

Indices: TypeAlias = NDArray[np.intp]
Spots: TypeAlias = tuple[Indices, ...]
"""(rows, cols) of some pixels of a canvas."""


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A block of (H, W) pixels, painted in place.

    index: intp, into the palette; shade: float32, 1 in full light; truth: bool; rough and fine: float32 textures, of
    metres (about -1..1) and of single pixels (-1..1).
    """

    pixels: Lattice
    index: Indices
    shade: Field
    truth: Bool
    rough: Field
    fine: Field

    def field(self, layers: Layers, values: Field) -> Field:
        """A field of the layers on this canvas's pixels: float32, (H, W)."""
        return lift(values, layers.lattice, self.pixels)

    def paint(self, spots: Spots, tone: Field, surface: int, shade: Field | np.float32) -> None:
        """Give some pixels a surface, at a tone in 0..1, and a shade."""
        self.index[spots] = tones(tone, surface)
        self.shade[spots] = shade


def tones(tone: Field, surface: int) -> Indices:
    """Palette indices of tones in 0..1 (clipped) of a surface."""
    scaled = tone * np.float32(TONES)
    np.clip(scaled, 0, TONES - 1, out=scaled)
    index: Indices = scaled.astype(np.intp)
    index += surface * TONES
    return index


def blank(ground: Ground, layers: Layers, pixels: Lattice) -> Canvas:
    """A canvas that is all meadow."""
    rough = fbm(pixels, [key(ground.seed, "rough")], [{0: 0.45, 1: 0.6, 2: 0.7, 3: 0.7}])[0]
    draw = bits(pixels, key(ground.seed, "fine"))[0]
    fine = (draw & np.uint32(255)).astype(np.float32)
    fine += ((draw >> np.uint32(8)) & np.uint32(255)).astype(np.float32)
    fine *= np.float32(1 / 255.0)
    fine -= np.float32(1.0)
    tone = lift(layers.cover.green, layers.lattice, pixels)
    tone *= np.float32(0.5)
    tone += rough * np.float32(0.16)
    tone += np.float32(0.5)
    shade = fine * np.float32(0.09)
    shade += rough * np.float32(0.10)
    shade += np.float32(1.0)
    truth = np.zeros(rough.shape, np.bool_)
    return Canvas(pixels, tones(tone, Surface.MEADOW), shade, truth, rough, fine)
