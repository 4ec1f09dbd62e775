"""Tree crowns: one possible paraboloid in each cell, their upper envelope in exact integers."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.scenes.noise import Field, Lattice, bits, key
from calanddet.runtime.scenes.terrain import Ground
from calanddet.runtime.types import Window

__all__ = ["TINTS", "Canopy", "canopy", "crown_cell"]

Ints: TypeAlias = NDArray[np.int32]

TINTS = 32
SHIFT = 5
ABSENT = -(1 << 22)


@dataclass(frozen=True, slots=True, eq=False)
class Canopy:
    """Crowns in a window: height of the dome in metres, float32, 0 where there is none; tint, int32, 0..31."""

    height: Field
    tint: Ints


def crown_cell(ground: Ground) -> int:
    """The side of a crown's cell in pixels."""
    return max(2, round(ground.style.crown_m / ground.gsd_m))


def canopy(ground: Ground, window: Window, lattice: Lattice, density: Field) -> Canopy:
    """The crowns of a window.

    density, float32 on `lattice` (which reaches two cells beyond the window), is the chance of a tree; its excess
    over the tree's draw also decides how large it grows.
    """
    side = crown_cell(ground)
    row, col = window.row // side - 1, window.col // side - 1
    cells = Lattice(0, row, col, (window.stop_row - 1) // side + 2 - row, (window.stop_col - 1) // side + 2 - col)
    draw = bits(cells, key(ground.seed, "crowns"))[0]
    at_row, at_col = _places(draw, 0, side), _places(draw, 6, side)
    tall = _reach(ground, cells, draw, (at_row, at_col), _Cover(lattice, density))
    tint = (draw & np.uint32(TINTS - 1)).astype(np.int32)
    envelope = _envelope(window, cells, side, (at_row, at_col, tall, tint))
    scale = np.float32(7.5 / (1 << SHIFT) / (2.6 * side) ** 2)
    return Canopy(envelope.astype(np.float32) * scale, envelope & np.int32(TINTS - 1))


@dataclass(frozen=True, slots=True, eq=False)
class _Cover:
    lattice: Lattice
    density: Field


def _places(draw: NDArray[np.uint32], shift: int, side: int) -> Ints:
    """Position in the cell, in quarters of a pixel."""
    part = ((draw >> np.uint32(shift + 5)) & np.uint32(63)).astype(np.int32)
    place: Ints = (part * (4 * side - 1)) // 63
    return place


def _reach(ground: Ground, cells: Lattice, draw: NDArray[np.uint32], place: tuple[Ints, Ints], cover: _Cover) -> Ints:
    """Squared radius of each crown in sixteenths of a square pixel, or ABSENT."""
    side = crown_cell(ground)
    rows = ((np.arange(cells.height)[:, None] + cells.row) * 4 * side + place[0]) // 4
    cols = ((np.arange(cells.width)[None, :] + cells.col) * 4 * side + place[1]) // 4
    lattice = cover.lattice
    dense = cover.density[(rows >> lattice.level) - lattice.row, (cols >> lattice.level) - lattice.col]
    luck = ((draw >> np.uint32(17)) & np.uint32(1023)).astype(np.float32) * np.float32(1 / 1024)
    vigour = ((draw >> np.uint32(27)) & np.uint32(31)).astype(np.float32) * np.float32(1 / 32)
    radius = np.float32(4 * side) * (np.float32(0.34) + np.float32(0.48) * vigour * vigour + np.float32(0.14) * dense)
    squared: Ints = (radius * radius).astype(np.int32)
    squared[luck >= dense] = ABSENT
    return squared


def _envelope(window: Window, cells: Lattice, side: int, trees: tuple[Ints, Ints, Ints, Ints]) -> Ints:
    """Upper envelope of z = r^2 - d^2 (in 1/16 px^2, shifted left by 5, tint below), 0 where there is none.

    Along a row of cells z is P0(col) + a * P1(col) - 16 a^2 for the row a in the cell, so each neighbour costs a
    multiplication, an addition and a maximum a pixel.
    """
    at_row, at_col, tall, tint = trees
    inner_rows = cells.height - 2
    cols = np.arange(window.col, window.stop_col)
    cell_of = cols // side - cells.col
    a = np.arange(side, dtype=np.int32)[None, :, None]
    best = np.full((inner_rows, side, window.width), ABSENT << SHIFT, np.int32)
    term = np.empty_like(best)
    for aside in (-1, 0, 1):
        pick = cell_of + aside
        across = (4 * cols[None, :] - (at_col[:, pick] + 4 * side * (pick + cells.col)[None, :])).astype(np.int32)
        flat = ((tall[:, pick] - across * across) << SHIFT) | tint[:, pick]
        for down in (-1, 0, 1):
            rows = slice(1 + down, 1 + down + inner_rows)
            offset = at_row[rows][:, pick] + np.int32(4 * side * down)
            np.multiply(a, (offset * np.int32(8 << SHIFT))[:, None, :], out=term)
            term += (flat[rows] - ((offset * offset) << SHIFT))[:, None, :]
            np.maximum(best, term, out=best)
    best -= (a * a) << (SHIFT + 4)
    np.maximum(best, 0, out=best)
    rows_from = window.row - (cells.row + 1) * side
    return best.reshape(inner_rows * side, window.width)[rows_from : rows_from + window.height]
