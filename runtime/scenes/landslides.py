"""Where slopes failed: sites on hashed cells, each a scar, a track down the fall line and a deposit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.scenes.noise import Field, Lattice, bits, key
from calanddet.runtime.scenes.terrain import Ground, Relief
from calanddet.runtime.types import Window

__all__ = ["OLD", "OUTSIDE_M", "REACH_M", "Sites", "SlideMap", "draw_sites", "find_sites"]

Doubles = NDArray[np.float64]

SEGMENTS = 6
OUTSIDE_M = -6.0
"""Strength far from every landslide, in metres."""
BEND_M = 16.0
"""Most that an outline is bent out of its capsules, in metres along each axis."""
OLD = 0.5
"""A site with at least this share of regrown cover is an old scar: drawn, but not truth."""


@dataclass(frozen=True, slots=True)
class Size:
    """A size class: one possible site in each cell of about cell_m; lengths in metres."""

    name: str
    cell_m: float
    shortest_m: float
    longest_m: float
    share: float

    @property
    def reach_m(self) -> float:
        """How far from its head a site can touch: its length, its widest half-width, its bend and its margin."""
        return self.longest_m * (1.0 + WIDEST) + BEND_M - OUTSIDE_M


SIZES = (
    Size("large", 192.0, 90.0, 200.0, 2.0),
    Size("medium", 80.0, 36.0, 95.0, 1.9),
    Size("small", 48.0, 16.0, 40.0, 0.55),
)
"""Shares are of the sites that a cell has where slopes fail most readily; above 1 the least ready ones fail too."""
PROFILES = np.array(
    [
        [0.62, 1.00, 0.95, 0.80, 0.72, 0.86, 0.74],  # slide
        [0.66, 1.00, 0.62, 0.46, 0.44, 0.62, 1.00],  # flow with a fan
        [0.88, 1.05, 1.05, 0.98, 1.00, 1.02, 0.72],  # slump
        [0.40, 0.72, 0.90, 0.95, 0.78, 0.66, 0.50],  # spindle
    ]
)
"""Half-widths at the seven points of a path, over half the width."""
SLENDERNESS = np.array([[0.17, 0.38], [0.09, 0.19], [0.34, 0.65], [0.13, 0.28]])
"""Width over length, least and most, of each profile."""
WIDEST = 0.46
"""No half-width exceeds this share of the length: half the greatest slenderness, times profile and wobble."""
REACH_M = max(size.reach_m for size in SIZES)
DRAWS = (
    *("row", "col", "alive", "kind", "length", "slender", "soil", "cover", "old"),
    *(f"wobble{index}" for index in range(SEGMENTS + 1)),
)
BEND: Mapping[float, float] = {64.0: 14.0, 32.0: 15.0, 16.0: 11.0, 8.0: 7.0, 4.0: 3.0}
WAVES: Mapping[str, Mapping[float, float]] = {
    "bend/row": BEND,
    "bend/col": BEND,
    "spared": {24.0: 1.0, 12.0: 0.9, 6.0: 0.6},
}
"""Amplitudes by wavelength in metres: the outlines' bends in metres, and the ground that slides spare."""


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """N landslides: path (N, 7, 2) of (row, col) and half-width (N, 7), metres, head first; the rest (N,), 0..1."""

    path: Doubles
    half_width: Doubles
    soil: Doubles
    cover: Doubles

    def __len__(self) -> int:
        return len(self.path)


@dataclass(frozen=True, slots=True, eq=False)
class SlideMap:
    """Landslides on a lattice, float32 fields: strength is the metres inside the nearest outline, negative outside;
    along runs from 0 (head) to 1 (toe); across is the signed distance in metres from the middle of the track."""

    strength: Field
    along: Field
    across: Field
    soil: Field
    cover: Field


def find_sites(ground: Ground, land: Relief, window: Window) -> Sites:
    """All sites that can touch a window; `land` must reach `REACH_M` beyond it."""
    drawn = np.concatenate([_draws_of(ground, land, window, size) for size in SIZES], axis=1)
    pick = dict(zip(DRAWS, drawn, strict=True))
    length = pick["length"]
    kind = (pick["kind"] * len(PROFILES)).astype(np.intp)
    slender = SLENDERNESS[kind, 0] + pick["slender"] * (SLENDERNESS[kind, 1] - SLENDERNESS[kind, 0])
    wobble = 0.72 + 0.56 * drawn[-SEGMENTS - 1 :].T
    path, share = _paths(land, np.stack([pick["row"], pick["col"]], axis=-1), length, ground.gsd_m)
    half_width = (0.5 * length * slender * share)[:, None] * PROFILES[kind] * wobble
    cover = np.where(pick["old"] < 0.16, 0.7 + 0.25 * pick["cover"], 0.3 * pick["cover"] ** 2)
    return Sites(path, np.maximum(half_width, 2.4), pick["soil"], cover)


def _draws_of(ground: Ground, land: Relief, window: Window, size: Size) -> Doubles:
    """The draws of the sites of a size that exist near a window: (len(DRAWS), N), row, col and length in metres."""
    gsd = ground.gsd_m
    cells = Lattice.covering(window, ground.level(size.cell_m), int(size.reach_m / gsd))
    cell_m = cells.step * gsd
    streams = [key(ground.seed, f"{size.name}/{name}") for name in DRAWS]
    drawn = bits(cells, *streams).astype(np.float64) * 2.0**-32
    row, col, alive, length = (drawn[DRAWS.index(name)] for name in ("row", "col", "alive", "length"))
    row += np.arange(cells.row, cells.row + cells.height)[:, None]
    row *= cell_m
    col += np.arange(cells.col, cells.col + cells.width)[None, :]
    col *= cell_m
    length *= length
    length *= size.longest_m - size.shortest_m
    length += size.shortest_m
    near = (row > window.row * gsd - size.reach_m) & (row < window.stop_row * gsd + size.reach_m)
    near &= (col > window.col * gsd - size.reach_m) & (col < window.stop_col * gsd + size.reach_m)
    here = land.nearest(row, col, gsd)
    wanted = size.share * ground.style.slides * (cell_m / size.cell_m) ** 2
    near &= (land.slope[here] > 0.28) & (alive < wanted * np.clip(0.45 + 1.5 * land.cluster[here], 0.03, 1.25))
    return drawn[:, near]


def _paths(land: Relief, head: Doubles, length: Doubles, gsd_m: float) -> tuple[Doubles, Doubles]:
    """Walk down the fall line with some inertia: (N, 7, 2), metres, and the share of the length gone, (N,).

    Where the land flattens the steps become shorter.
    """
    path = np.empty((len(head), SEGMENTS + 1, 2))
    path[:, 0] = head
    heading = np.zeros_like(head)
    gone = np.zeros(len(head))
    for step in range(SEGMENTS):
        here = land.nearest(path[:, step, 0], path[:, step, 1], gsd_m)
        fall = -np.stack([land.fall_row[here], land.fall_col[here]], axis=-1).astype(np.float64)
        heading = _unit(_unit(fall) + (1.5 if step else 0.0) * heading)
        stride = np.clip(land.slope[here].astype(np.float64) * 4.0, 0.25, 1.0) / SEGMENTS
        path[:, step + 1] = path[:, step] + heading * (length * stride)[:, None]
        gone += stride
    return path, gone


def _unit(vectors: Doubles) -> Doubles:
    norm = np.sqrt(vectors[:, 0] * vectors[:, 0] + vectors[:, 1] * vectors[:, 1]) + 1e-9
    return vectors / norm[:, None]


def draw_sites(ground: Ground, sites: Sites, lattice: Lattice) -> SlideMap:
    """Draw the sites on a lattice of a few metres: capsules of changing width, bent by noise."""
    shape = (lattice.height, lattice.width)
    strength = np.full(shape, OUTSIDE_M, np.float32)
    along, across, soil, cover = (np.zeros(shape, np.float32) for _ in range(4))
    step_m = lattice.step * ground.gsd_m
    bend_row, bend_col, spared = ground.noise(lattice, WAVES)
    np.clip(bend_row, -BEND_M, BEND_M, out=bend_row)
    np.clip(bend_col, -BEND_M, BEND_M, out=bend_col)
    rows = np.arange(lattice.row, lattice.row + lattice.height) * step_m
    cols = np.arange(lattice.col, lattice.col + lattice.width) * step_m
    for path, half_width, tone, green in zip(sites.path, sites.half_width, sites.soil, sites.cover, strict=True):
        margin = float(half_width.max()) + BEND_M - OUTSIDE_M
        first = np.searchsorted(rows, path[:, 0].min() - margin), np.searchsorted(cols, path[:, 1].min() - margin)
        last = np.searchsorted(rows, path[:, 0].max() + margin), np.searchsorted(cols, path[:, 1].max() + margin)
        if first[0] >= last[0] or first[1] >= last[1]:
            continue
        box = (slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1])))
        give = np.float32(min(1.0, float(half_width.max()) / 12.0))
        row = (rows[box[0]] - path[0, 0]).astype(np.float32)[:, None] + bend_row[box] * give
        col = (cols[box[1]] - path[0, 1]).astype(np.float32)[None, :] + bend_col[box] * give
        inside, run, side = _capsules(row, col, path - path[0], half_width)
        better = inside > strength[box]
        np.copyto(strength[box], inside, where=better)
        np.copyto(along[box], run, where=better)
        np.copyto(across[box], side, where=better)
        soil[box][better] = np.float32(tone)
        cover[box][better] = np.float32(green)
    strength -= np.clip(spared - np.float32(0.68), 0.0, 1.0) * np.float32(24.0)
    return SlideMap(strength, along, across, soil, cover)


def _capsules(row: Field, col: Field, path: Doubles, half_width: Doubles) -> tuple[Field, Field, Field]:
    """The best of the path's segments at each point: metres inside, run 0..1, metres aside."""
    best = np.full(row.shape, -1e6, np.float32)
    run, side = np.zeros_like(best), np.zeros_like(best)
    for index in range(SEGMENTS):
        (from_row, from_col), (to_row, to_col) = path[index].tolist(), path[index + 1].tolist()
        d_row, d_col = to_row - from_row, to_col - from_col
        square = d_row * d_row + d_col * d_col + 1e-9
        a_row, a_col = row - np.float32(from_row), col - np.float32(from_col)
        t = np.clip(a_row * np.float32(d_row / square) + a_col * np.float32(d_col / square), 0.0, 1.0)
        a_row -= t * np.float32(d_row)
        a_col -= t * np.float32(d_col)
        distance = np.sqrt(a_row * a_row + a_col * a_col)
        inside = t * np.float32(half_width[index + 1] - half_width[index]) + np.float32(half_width[index]) - distance
        better = inside > best
        np.copyto(best, inside, where=better)
        np.copyto(run, (t + np.float32(index)) * np.float32(1 / SEGMENTS), where=better)
        signed = (a_row * np.float32(d_col) - a_col * np.float32(d_row)) * np.float32(1 / np.sqrt(square))
        np.copyto(side, signed, where=better)
    return best, run, side
