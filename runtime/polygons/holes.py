"""Holes of landslides that are too small to matter, filled; what lies in them becomes part of the landslide."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.cover import Edges
from calanddet.runtime.polygons.locate import Locator
from calanddet.runtime.polygons.measure import ring_areas, ring_moments
from calanddet.runtime.polygons.outlines import Groups, Outlines
from calanddet.runtime.types import Bool

__all__ = ["HoleFilling", "Small"]

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """Which holes are smaller than `area`: square metres, or pixels where the ground is not known."""

    area: float
    locator: Locator

    def holes(self, group: Outlines) -> tuple[Bool, Int]:
        """Which rings of a group are such holes, bool, (R,), and the pixels in each ring, int64, (R,)."""
        pixels = np.abs(ring_moments(group.vertices, group.ring_size)[1])
        hole = np.ones(len(pixels), np.bool_)
        hole[group.first_ring] = False
        size = pixels
        ellipsoid = self.locator.ellipsoid
        if ellipsoid is not None and hole.any():
            rings = group.vertices[np.repeat(hole, group.ring_size)].astype(np.float64)
            places = self.locator.locate(rings[:, 0], rings[:, 1])
            area = ring_areas(places.lon, places.lat, group.ring_size[hole], ellipsoid)
            size = pixels.copy()
            size[hole] = np.where(np.isnan(area), pixels[hole], area)
        return hole & (size < self.area), np.rint(pixels).astype(np.int64)


class HoleFilling:
    """The landslides of `groups` without their small holes.

    A landslide that lies in a hole which is filled is part of the one around it: its pixels count there. So no two
    polygons overlap, and a landslide's confidence is that of all its pixels that reach the threshold.
    Memory holds one group, the filled holes that reach the current row, and six numbers a landslide and a byte a ring.
    """

    def __init__(self, groups: Groups, small: Small) -> None:
        self._groups, self._inside = groups, _Insides()
        self._filled: list[Bool] = []
        self._begin = [0]
        for index in range(len(groups)):
            group = groups[index]
            filled, pixels = small.holes(group)
            if len(group):
                self._inside.add(group, filled, pixels)
            self._filled.append(filled)
            self._begin.append(self._begin[-1] + len(group))
        self._inside.settle()

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> Outlines:
        group, here = self._groups[index], slice(self._begin[index], self._begin[index + 1])
        return self._changed(group, here, self._filled[index]) if len(group) else group

    def _changed(self, group: Outlines, here: slice, filled: Bool) -> Outlines:
        stays = self._inside.owner[here] < 0
        ring_stays = ~filled & np.repeat(stays, group.rings)
        rings = np.add.reduceat(ring_stays.astype(np.int64), group.first_ring)
        found = self._inside
        return Outlines(
            pixels=(group.pixels + found.pixels[here])[stays],
            total=(group.total + found.total[here])[stays],
            peak=np.maximum(group.peak, found.peak[here])[stays],
            vertices=group.vertices[np.repeat(ring_stays, group.ring_size)],
            ring_size=group.ring_size[ring_stays],
            rings=rings[stays],
            filled=(found.filled[here] - found.pixels[here])[stays],
        )


class _Insides:
    """Which landslides lie in the filled hole of another one, and what that one gains; a number for each, from 0.

    owner: int64, (n,), of the landslide around it, -1 where there is none; filled: pixels of its filled holes;
    pixels, total, peak: of the landslides in them, as in `Outlines`.
    """

    def __init__(self) -> None:
        empty = np.empty(0, np.int64)
        self.owner, self.filled, self.pixels, self.total = empty, empty, empty, empty
        self.peak = np.empty(0, np.uint8)
        self._own: list[tuple[Int, Int, Int, NDArray[np.uint8], Int]] = []
        self._edges, self._known = Edges.none(), 0

    def add(self, group: Outlines, filled: Bool, pixels: Int) -> None:
        """Take the next group; filled: bool, (R,), which rings are filled holes; pixels: int64, (R,), inside them."""
        landslide = np.repeat(np.arange(len(group)), group.rings)
        size = group.ring_size[filled]
        holes = Edges.of(
            group.vertices[np.repeat(filled, group.ring_size)], size, self._known + landslide[filled]
        ).reversed()
        first = group.first_pixel.astype(np.int64)
        self._edges = Edges.joined(self._edges.reaching(int(first[0, 0])), holes)
        pitch = int(max(group.vertices[:, 1].max(), self._edges.col.max(initial=0))) + 1
        spans = self._edges.spans(np.unique(first[:, 0]), pitch)
        owner = spans.owner_at(first[:, 0] * pitch + first[:, 1])
        gained = np.zeros(len(group), np.int64)
        np.add.at(gained, landslide[filled], pixels[filled])
        self._own.append((owner, group.pixels, group.total, group.peak, gained))
        self._known += len(group)

    def settle(self) -> None:
        """Sum up, once all groups were added."""
        if not self._own:
            return
        self.owner, pixels, total, peak, self.filled = (np.concatenate(part) for part in zip(*self._own, strict=True))
        self._own.clear()
        inside = self.owner >= 0
        around = self.owner[inside]
        self.pixels, self.total, self.peak = np.zeros_like(pixels), np.zeros_like(total), np.zeros_like(peak)
        np.add.at(self.pixels, around, pixels[inside])
        np.add.at(self.total, around, total[inside])
        np.maximum.at(self.peak, around, peak[inside])
