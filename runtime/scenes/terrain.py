"""The relief: ridged mountains, a river's valley, slopes and the light on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.scenes.noise import Field, Lattice, chance, fbm, key, lift
from calanddet.runtime.scenes.style import Style

__all__ = ["COARSE_M", "Ground", "Relief", "detailed", "gradient", "relief", "shaded"]

Doubles: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

RIVERS_M = 2000.0
"""Two rivers cross the land in this distance, on average."""
COARSE_M = 8.0
"""Step of the lattice on which the shape of the land is made, in metres, up to a factor of 1.4."""

WAVES: Mapping[str, Mapping[float, float]] = {
    "river": {640.0: 0.55, 320.0: 0.2, 160.0: 0.05},
    "ridges": {320.0: 1.0, 160.0: 0.55, 80.0: 0.22},
    "spurs": {128.0: 1.0, 64.0: 0.5, 32.0: 0.2},
    "cluster": {320.0: 1.0, 160.0: 0.5},
}
"""Amplitudes by wavelength in metres of the noises that shape the land."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where and how finely a scene looks at its land: the seed, its style and the GSD in metres."""

    seed: int
    style: Style
    gsd_m: float

    def level(self, metres: float, least: int = 0) -> int:
        """The lattice level whose step is nearest to a length in metres."""
        return max(least, round(float(np.log2(metres / self.gsd_m))))

    def noise(self, lattice: Lattice, amplitudes: Mapping[str, Mapping[float, float]]) -> Field:
        """Fractal noises by name, float32, (names, height, width), each with its amplitudes by wavelength in metres."""
        streams = [key(self.seed, name) for name in amplitudes]
        return fbm(lattice, streams, [self._levels(waves) for waves in amplitudes.values()])

    def _levels(self, waves: Mapping[float, float]) -> dict[int, float]:
        levels: dict[int, float] = {}
        for metres, amplitude in waves.items():
            level = self.level(metres)
            levels[level] = levels.get(level, 0.0) + amplitude
        return levels


@dataclass(frozen=True, slots=True, eq=False)
class Relief:
    """The land on a lattice: height, river distance and slope (rise over run), float32, (height, width), metres."""

    lattice: Lattice
    height: Field
    river: Field
    slope: Field
    fall_row: Field
    fall_col: Field
    cluster: Field
    """How readily slopes fail here, about -1..1."""

    def nearest(self, rows: Doubles, cols: Doubles, gsd_m: float) -> tuple[Indices, Indices]:
        """Indices of the lattice points nearest to ground points given in metres; beyond the lattice, its edge."""
        step_m = self.lattice.step * gsd_m
        row = np.floor(rows / step_m + 0.5).astype(np.intp) - self.lattice.row
        col = np.floor(cols / step_m + 0.5).astype(np.intp) - self.lattice.col
        return np.clip(row, 0, self.lattice.height - 1), np.clip(col, 0, self.lattice.width - 1)


def gradient(values: Field, step_m: float) -> tuple[Field, Field]:
    """Central differences (d/drow, d/dcol) per metre of all but the outermost points."""
    half = np.float32(0.5 / step_m)
    return (values[2:, 1:-1] - values[:-2, 1:-1]) * half, (values[1:-1, 2:] - values[1:-1, :-2]) * half


def relief(ground: Ground, lattice: Lattice) -> Relief:
    """The land's shape on a lattice of about `COARSE_M`."""
    grown = lattice.grown(2)
    step_m = lattice.step * ground.gsd_m
    bends, ridges, spurs, cluster = ground.noise(grown, WAVES)
    course = _course(ground, grown, bends)
    d_row, d_col = gradient(course, step_m)
    river = np.abs(course[1:-1, 1:-1]) / np.sqrt(d_row * d_row + d_col * d_col + np.float32(1e-9))
    inner = lattice.grown(1)
    ridges = 1.0 - 2.2 * np.abs(grown.crop(ridges, inner))
    spurs = 1.0 - 2.4 * np.abs(grown.crop(spurs, inner))
    valley = np.clip((river - np.float32(ground.style.valley_m)) * np.float32(1 / 160.0), 0.0, 1.0)
    valley = valley * (np.float32(2.0) - valley)
    height = ground.style.relief_m * valley * (0.35 + 0.75 * ridges + 0.28 * spurs) + np.float32(2.0) * spurs
    height = height.astype(np.float32, copy=False)
    fall_row, fall_col = gradient(height, step_m)
    slope = np.sqrt(fall_row * fall_row + fall_col * fall_col)
    return Relief(
        lattice=lattice,
        height=inner.crop(height, lattice),
        river=inner.crop(river, lattice),
        slope=slope,
        fall_row=fall_row,
        fall_col=fall_col,
        cluster=grown.crop(cluster, lattice),
    )


def _course(ground: Ground, lattice: Lattice, bends: Field) -> Field:
    """Zero along the rivers: a triangular wave across the land, so bent that it seldom closes on itself."""
    step_m = lattice.step * ground.gsd_m
    across_row, across_col = ground.style.rivers
    rows = np.arange(lattice.row, lattice.row + lattice.height) * (across_row * step_m / RIVERS_M)
    cols = np.arange(lattice.col, lattice.col + lattice.width) * (across_col * step_m / RIVERS_M)
    phase = rows[:, None] + cols[None, :] + (bends.astype(np.float64) + chance(ground.seed, "rivers"))
    course: Field = (np.abs(phase - np.floor(phase) - 0.5) - 0.25).astype(np.float32)
    return course


def shaded(ground: Ground, height: Field, lattice: Lattice) -> Field:
    """Lambert shading of all but the outermost points, 1 on flat ground: float32."""
    d_row, d_col = gradient(height, lattice.step * ground.gsd_m)
    sun_row, sun_col = (np.float32(part) for part in ground.style.sun)
    rise = np.float32(ground.style.sun_slope)
    lit = (rise - d_row * sun_row - d_col * sun_col) / np.sqrt(d_row * d_row + d_col * d_col + np.float32(1.0))
    shade: Field = np.clip(lit * np.float32(0.72 / float(rise)) + np.float32(0.28), np.float32(0.4), np.float32(1.5))
    return shade


def detailed(ground: Ground, relief_: Relief, lattice: Lattice) -> Field:
    """The height on a finer lattice, with gullies of a few metres added on the slopes."""
    height = lift(relief_.height, relief_.lattice, lattice)
    rough = fbm(lattice, [key(ground.seed, "gullies")], [{lattice.level: 0.25, lattice.level + 1: 0.5}])
    height += rough[0]
    return height
