"""What covers the land away from landslides: forest, meadows, farmland, bare ground, roads and the river."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calanddet.runtime.scenes.noise import Field, Lattice, lift
from calanddet.runtime.scenes.terrain import Ground, Relief, gradient

__all__ = ["Cover", "land_cover"]


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """Smooth fields on a lattice, float32: forest density 0..1 and greenness about 0..1; the others are positive
    inside: farmland and bare ground (unitless), or distances in metres: river and roads (signed, from their middle)."""

    forest: Field
    green: Field
    farm: Field
    bare: Field
    river: Field
    valley_road: Field
    hill_road: Field
    clouds: Field


WAVES: Mapping[str, Mapping[float, float]] = {
    "groves": {256.0: 1.0, 128.0: 0.8, 64.0: 0.5, 32.0: 0.5, 16.0: 0.35, 8.0: 0.3},
    "regions": {512.0: 1.0, 256.0: 0.9, 64.0: 0.3},
    "green": {128.0: 0.6, 64.0: 0.5, 16.0: 0.5, 8.0: 0.4, 4.0: 0.4},
    "patches": {64.0: 1.0, 32.0: 0.7, 16.0: 0.7, 8.0: 0.7, 4.0: 0.7, 2.0: 0.5},
    "wiggle": {128.0: 14.0, 64.0: 5.0},
    "clouds": {512.0: 1.0, 256.0: 0.6, 128.0: 0.3},
}
"""Amplitudes by wavelength in metres of the noises that spread the cover."""


def land_cover(ground: Ground, land: Relief, lattice: Lattice) -> Cover:
    """The cover on a lattice of a few metres; `land` reaches at least `lattice.above(land.lattice.level)`."""
    style = ground.style
    source = land.lattice
    river = lift(land.river, source, lattice)
    flat = lift(np.clip(1.0 - land.slope * np.float32(1 / 0.36), 0.0, 1.0).astype(np.float32), source, lattice)
    groves, regions, green, patches, wiggle, clouds = ground.noise(lattice, WAVES)
    farm = flat + regions * np.float32(0.8) - np.float32(1.15 - 0.65 * style.farmed)
    forest = groves * np.float32(2.6) + np.float32(3.4 * style.forest - 1.0) - flat * np.float32(0.9 + style.farmed)
    bare = patches + regions * np.float32(0.25) - np.float32(0.95)
    return Cover(
        forest=np.clip(forest, np.float32(0.015), np.float32(0.97)),
        green=green,
        farm=farm,
        bare=bare,
        river=river + wiggle * np.float32(0.8),
        valley_road=river + wiggle - np.float32(style.valley_m * 0.9 + 12.0),
        hill_road=_iso_line(ground, lattice, source.level),
        clouds=clouds,
    )


def _iso_line(ground: Ground, lattice: Lattice, level: int) -> Field:
    """Signed distance in metres, near zero, from an iso-line of smooth noise: n / |grad n|."""
    above = lattice.above(level)
    course = ground.noise(above.grown(1), {"road": {256.0: 1.0, 128.0: 0.35}})[0]
    d_row, d_col = gradient(course, above.step * ground.gsd_m)
    distance = (course[1:-1, 1:-1] - np.float32(0.12)) / np.sqrt(d_row * d_row + d_col * d_col + np.float32(1e-6))
    return lift(np.clip(distance, np.float32(-60.0), np.float32(60.0)), above, lattice)
