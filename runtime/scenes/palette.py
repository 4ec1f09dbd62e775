"""Colours: a ramp of 64 tones for each kind of surface, the camera's tint folded in."""

from enum import IntEnum
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from calanddet.runtime.scenes.noise import Field, chance
from calanddet.runtime.scenes.style import Colour, Style, style_of

__all__ = ["TONES", "Surface", "palette_of"]

Ramp: TypeAlias = tuple[Colour, Colour, Colour]
"""The colours of tones 0, 1/2 and 1."""

TONES = 64
ROOFS: tuple[Colour, ...] = ((0.55, 0.56, 0.58), (0.30, 0.42, 0.62), (0.55, 0.30, 0.24), (0.82, 0.82, 0.80))


class Surface(IntEnum):
    """Kinds of surface, in the palette's order; FRESH is the first of four soils, CROP of four crops, ROOF of four."""

    MEADOW = 0
    TREE = 1
    WATER = 2
    GRAVEL = 3
    ROAD = 4
    ROCK = 5
    FRESH = 6
    CROP = 10
    ROOF = 14


@lru_cache(maxsize=16)
def palette_of(seed: int) -> Field:
    """The colours of a seed's scene, before shading: float32, (3, 18 * 64), 0..255."""
    style = style_of(seed)
    lush, dry = (0.30, 0.44, 0.20), (0.62, 0.58, 0.38)
    soils = [_mix(style.soil, style.soil_second, step / 3) for step in range(4)]
    ramps = [
        _meadow(style),
        _trees(seed, style),
        _water(seed),
        _around((0.66, 0.65, 0.61), 0.62, 1.12),
        _road(seed, style),
        _around(style.rock, 0.55, 1.15),
        *(_around(soil, 0.52, 1.28) for soil in soils),
        _around(lush, 0.75, 1.2),
        _around(_mix(lush, dry, 0.45), 0.8, 1.2),
        _around(_mix(style.soil, style.soil_second, chance(seed, "plough")), 0.6, 1.05),
        _around((0.72, 0.68, 0.56), 0.75, 1.15),
        *(_around(roof, 0.85, 1.1) for roof in ROOFS),
    ]
    low, middle, high = np.array(ramps).transpose(1, 2, 0)[..., None]
    at = np.linspace(0.0, 2.0, TONES)
    colours = low + (middle - low) * np.minimum(at, 1.0) + (high - middle) * np.maximum(at - 1.0, 0.0)
    washed = colours.mean(axis=0) * (1.0 - style.colour) + colours * style.colour
    tinted = washed * np.array(style.tint)[:, None, None] * 255.0
    return np.ascontiguousarray(tinted.reshape(3, -1), np.float32)


def _meadow(style: Style) -> Ramp:
    dry = _mix((0.40, 0.42, 0.22), (0.64, 0.58, 0.40), style.dryness)
    lush = _mix((0.24, 0.38, 0.16), (0.44, 0.48, 0.26), style.dryness)
    return _scaled(dry, 1.08), _mix(dry, lush, 0.6), _scaled(lush, 0.8)


def _trees(seed: int, style: Style) -> Ramp:
    deep = _mix((0.15, 0.24, 0.12), (0.19, 0.25, 0.18), chance(seed, "conifer"))
    light = _mix((0.31, 0.42, 0.17), (0.38, 0.38, 0.17), style.dryness)
    odd: Colour = (0.50, 0.40, 0.20) if chance(seed, "autumn") < 0.3 else (0.42, 0.50, 0.22)
    dark = style.crown_dark
    return _scaled(deep, dark), _scaled(_mix(deep, light, 0.35 + 0.4 * style.crown_tint), dark), odd


def _water(seed: int) -> Ramp:
    clear, muddy = (0.22, 0.34, 0.33), (0.56, 0.50, 0.40)
    base = _mix(clear, muddy, chance(seed, "mud"))
    return _scaled(base, 0.85), base, _mix(base, (0.75, 0.77, 0.76), 0.4)


def _road(seed: int, style: Style) -> Ramp:
    base = _mix((0.60, 0.60, 0.59), _mix(style.soil, (0.72, 0.68, 0.62), 0.5), chance(seed, "dirt"))
    return _scaled(base, 0.8), base, _scaled(base, 1.2)


def _around(base: Colour, low: float, high: float) -> Ramp:
    """A ramp from dark to light of one colour."""
    return _scaled(base, low), base, _scaled(base, high)


def _scaled(colour: Colour, gain: float) -> Colour:
    red, green, blue = colour
    return red * gain, green * gain, blue * gain


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue
