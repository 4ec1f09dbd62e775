"""Farmland: a patchwork of turned rectangles, each with its crop, its rows and now and then a yard of houses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.scenes.noise import Field, key
from calanddet.runtime.scenes.palette import Surface
from calanddet.runtime.scenes.terrain import Ground

__all__ = ["Plots", "plots_at"]

WIDE_M, LONG_M = 46.0, 78.0
"""Sides of a plot."""
YARD_M = (15.0, 19.5)
"""Spacing of houses across and along a plot."""


@dataclass(frozen=True, slots=True, eq=False)
class Plots:
    """For N pixels: surface (intp, N), or -1 for a grassy border, tone 0..1, furrow -1..1 and shade, float32, (N,)."""

    surface: NDArray[np.intp]
    tone: Field
    furrow: Field
    shade: Field


def plots_at(ground: Ground, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Plots:
    """What farmland shows at pixels (row, col) of the scene."""
    cosine, sine = ground.style.plot_turn
    p = rows * (cosine * ground.gsd_m) + cols * (sine * ground.gsd_m)
    q = cols * (cosine * ground.gsd_m) - rows * (sine * ground.gsd_m)
    band = np.floor(q * (1 / WIDE_M))
    shifted = p + _unit(band, 0, ground.seed, "shift") * 90.0
    place = np.floor(shifted * (1 / LONG_M))
    in_q, in_p = q - band * WIDE_M, shifted - place * LONG_M
    crop = _unit(band, place, ground.seed, "crop")
    tone = 0.25 + 0.5 * _unit(band, place, ground.seed, "tone")
    turned = _unit(band, place, ground.seed, "turned") < 0.5
    period = np.maximum(1.4 + 2.2 * _unit(band, place, ground.seed, "period"), 2.6 * ground.gsd_m)
    phase = np.where(turned, in_p, in_q) / period
    furrow = np.abs(phase - np.floor(phase) - 0.5) * 4.0 - 1.0
    edge = np.minimum(np.minimum(in_q, WIDE_M - in_q), np.minimum(in_p, LONG_M - in_p))
    surface = np.where(edge < 0.9, -1, Surface.CROP + (crop * 4.0).astype(np.intp))
    shade = np.ones_like(p)
    house, roof, dark = _houses(in_p, in_q, (band, place), ground)
    surface = np.where(house, roof, surface)
    shade = np.where(house, dark, shade)
    furrow = np.where(house, 0.0, furrow)
    return Plots(surface, tone.astype(np.float32), furrow.astype(np.float32), shade.astype(np.float32))


def _houses(
    in_p: NDArray[np.float64],
    in_q: NDArray[np.float64],
    plot: tuple[NDArray[np.float64], NDArray[np.float64]],
    ground: Ground,
) -> tuple[NDArray[np.bool_], NDArray[np.intp], NDArray[np.float64]]:
    """Whether a pixel is a roof, which one, and its shade: two slopes along the ridge."""
    band, place = plot
    village = _unit(band, place, ground.seed, "village") < 0.12
    row, col = np.floor(in_q * (1 / YARD_M[0])), np.floor(in_p * (1 / YARD_M[1]))
    number = row * 8.0 + col
    stands = village & (_unit(band * 64.0 + number, place, ground.seed, "house") < 0.55)
    u, v = in_q * (1 / YARD_M[0]) - row - 0.5, in_p * (1 / YARD_M[1]) - col - 0.5
    house = stands & (np.abs(u) < 0.27) & (np.abs(v) < 0.33)
    roof = Surface.ROOF + (_unit(band * 64.0 + number, place, ground.seed, "roof") * 4.0).astype(np.intp)
    return house, roof, np.where(u > 0.0, 1.12, 0.84)


def _unit(first: NDArray[np.float64], second: NDArray[np.float64] | float, seed: int, name: str) -> NDArray[np.float64]:
    """A uniform number in [0, 1) for each pair of whole numbers."""
    mixed = np.asarray(first, np.float64).astype(np.int64).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = mixed ^ (np.asarray(second, np.float64).astype(np.int64).view(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed = (mixed ^ np.uint64(key(seed, name))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x94D049BB133111EB)
    unit: NDArray[np.float64] = (mixed >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return unit
