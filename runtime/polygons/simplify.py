"""Outlines with fewer vertices: none farther away than a tolerance, none crossing another, nothing changing sides.

A chain of vertices is replaced by the straight line between its ends (Douglas and Peucker 1973) where all of it lies
within the tolerance of that line. That alone lets lines cross and small islands change sides. So a chain stays longer
where a vertex of any outline, its own other vertices included, lies between it and its line, or on the line: without
one, no two lines cross, and what a ring was inside of it stays inside of (the condition of de Berg, van Kreveld and
Schirra, Topologically correct subdivision simplification using the bandwidth criterion, 1998; here for closed regions).
Where two outlines share a point, it and its neighbours stay in both.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.between import Vertices, between
from calanddet.runtime.polygons.chains import Chains, farthest
from calanddet.runtime.polygons.locate import Locator
from calanddet.runtime.polygons.measure import following
from calanddet.runtime.polygons.outlines import Groups, Outlines
from calanddet.runtime.types import Bool

__all__ = ["Lines", "Simplifier"]

Int = NDArray[np.int64]
Float = NDArray[np.float64]

LONGEST = 64
"""So many edges at most become one: it bounds what a chain costs, and no one misses the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Rings of a group of landslides, as in `Outlines`: vertices: int32, (V, 2), (row, col); ring_size: int64, (R,)."""

    vertices: NDArray[np.int32]
    ring_size: Int


class Simplifier:
    """Draws the landslides of `groups` with fewer vertices, all of them within `tolerance` of their outlines.

    tolerance: metres, or pixels where the ground is not known. Memory holds two groups.
    """

    def __init__(self, groups: Groups, locator: Locator, tolerance: float) -> None:
        self._groups, self._locator, self._tolerance = groups, locator, tolerance
        self._rows = [_row_range(groups[index]) for index in range(len(groups))]

    def lines(self, index: int) -> Lines:
        """The rings of group `index`."""
        group = self._groups[index]
        if not len(group):
            return Lines(group.vertices, group.ring_size)
        points = self._points(group)
        keep = _anchors(group, points)
        for others in self._around(index):
            keep |= _touching(group, Vertices.of(others))
        chains = Chains(keep, group.ring_size)
        new = chains.all()
        while len(new):
            new = self._within_tolerance(chains, new, points)
            blocked = np.concatenate([chains.of_collapsed_rings(new), self._blocked(chains, new, index, group)])
            blocked = np.unique(blocked)
            new = chains.split(farthest(chains, blocked, points)[1])
        kept = np.add.reduceat(chains.keep.astype(np.int64), group.ring_start)
        return Lines(group.vertices[chains.keep], kept)

    def _within_tolerance(self, chains: Chains, new: Int, points: Float) -> Int:
        """Split the `new` chains until all are within the tolerance; gives the first vertices of what they became."""
        settled = []
        while len(new):
            distance, vertex = farthest(chains, new, points)
            far = distance > self._tolerance
            settled.append(new[~far])
            new = chains.split(vertex[far])
        return np.concatenate(settled) if settled else new

    def _blocked(self, chains: Chains, new: Int, index: int, group: Outlines) -> Int:
        """Those of the `new` chains with a vertex of any landslide between them and their line."""
        found = between(group.vertices, chains, new, Vertices.of(group.vertices), own=True)
        for others in self._around(index):
            rest = new[~np.isin(new, found)]
            found = np.concatenate([found, between(group.vertices, chains, rest, Vertices.of(others), own=False)])
        return found

    def _around(self, index: int) -> Iterator[NDArray[np.int32]]:
        """The vertices of all other groups that reach into the rows of this one, one group at a time."""
        top, bottom = self._rows[index]
        for other, (first, last) in enumerate(self._rows):
            if other != index and first <= bottom and last >= top:
                vertices = self._groups[other].vertices
                yield vertices[(vertices[:, 0] >= top) & (vertices[:, 0] <= bottom)]

    def _points(self, group: Outlines) -> Float:
        """Where the vertices are, in metres about the ellipsoid's centre, or in pixels: float64, (V, 2 or 3)."""
        pixels = group.vertices.astype(np.float64)
        if self._locator.ellipsoid is None:
            return pixels
        places = self._locator.locate(pixels[:, 0], pixels[:, 1])
        return np.asarray(self._locator.ellipsoid.geocentric(places.lon, places.lat).T)


def _row_range(group: Outlines) -> tuple[int, int]:
    rows = group.vertices[:, 0]
    return (int(rows.min()), int(rows.max())) if len(rows) else (0, -1)


def _anchors(group: Outlines, points: Float) -> Bool:
    """Vertices that stay whatever comes: of every ring the first one, the one farthest from it, every LONGEST-th one;
    points that two rings share, with their neighbours; all of a ring of which not every place is known."""
    size, start = group.ring_size, group.ring_start
    step = np.arange(len(points)) - np.repeat(start, size)
    away = np.linalg.norm(points - np.repeat(points[start], size, axis=0), axis=1)
    known = ~np.isnan(np.add.reduceat(away, start))
    away = np.where(np.isnan(away), 0.0, away)
    largest = np.repeat(np.maximum.reduceat(away, start), size)
    keep = (step % LONGEST == 0) | ~np.repeat(known, size)
    first = np.flatnonzero(away == largest)
    keep[first[np.unique(np.repeat(np.arange(len(size)), size)[first], return_index=True)[1]]] = True
    own = Vertices.of(group.vertices)
    return np.asarray(keep | _with_neighbours(own.repeated(), size))


def _touching(group: Outlines, others: Vertices) -> Bool:
    return _with_neighbours(others.holds(group.vertices), group.ring_size)


def _with_neighbours(which: Bool, size: Int) -> Bool:
    after = following(size)
    found = which | which[after]
    found[after[which]] = True
    return found
