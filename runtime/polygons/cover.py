"""Which pixels outlines cover, row by row: outlines turned back into runs of pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.measure import following
from calanddet.runtime.polygons.outlines import Groups, Outlines
from calanddet.runtime.polygons.trace import slices
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Cover", "Edges", "Spans"]

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Runs of covered pixels in scan order: start, stop: int64, (n,), positions as in `Runs`; owner: int64, (n,)."""

    start: Int
    stop: Int
    owner: Int

    def owner_at(self, position: Int) -> Int:
        """Whose the pixels at `position` are, int64, (m,), -1 where nobody's."""
        found = np.searchsorted(self.start, position, side="right") - 1
        inside = found >= 0
        inside[inside] = position[inside] < self.stop[found[inside]]
        owner = np.full(len(position), -1)
        owner[inside] = self.owner[found[inside]]
        return owner


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Vertical edges of rings: rows top to bottom, exclusive, at `col`; all int64, (n,).

    sign: +1 where what lies right of the edge is covered, -1 where what lies left of it is; owner: whose ring it is.
    """

    top: Int
    bottom: Int
    col: Int
    sign: Int
    owner: Int

    def __len__(self) -> int:
        return len(self.top)

    @classmethod
    def none(cls) -> "Edges":
        """No edges at all."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, empty, empty)

    @classmethod
    def of(cls, vertices: NDArray[np.int32], ring_size: Int, owner: Int) -> "Edges":
        """The edges of rings in pixels; vertices: (V, 2); owner: int64, (R,), of each ring.

        Rings that run counter-clockwise on the image cover their inside, the others keep theirs free: a polygon's rings
        together cover the polygon.
        """
        begin = vertices.astype(np.int64)
        end = begin[following(ring_size)]
        down = end[:, 0] - begin[:, 0]
        upright = down != 0
        begin, end, down = begin[upright], end[upright], down[upright]
        top, bottom = np.minimum(begin[:, 0], end[:, 0]), np.maximum(begin[:, 0], end[:, 0])
        return cls(top, bottom, begin[:, 1], np.sign(down), np.repeat(owner, ring_size)[upright])

    @classmethod
    def joined(cls, one: "Edges", other: "Edges") -> "Edges":
        """The edges of both."""
        pairs = (
            (one.top, other.top),
            (one.bottom, other.bottom),
            (one.col, other.col),
            (one.sign, other.sign),
            (one.owner, other.owner),
        )
        return cls(*(np.concatenate(pair) for pair in pairs))

    def reversed(self) -> "Edges":
        """The edges of the same rings running the other way: what they kept free is covered."""
        return Edges(self.top, self.bottom, self.col, -self.sign, self.owner)

    def reaching(self, row: int) -> "Edges":
        """The edges that reach below the upper border of `row`."""
        which: Bool = self.bottom > row
        return Edges(self.top[which], self.bottom[which], self.col[which], self.sign[which], self.owner[which])

    def spans(self, rows: Int, pitch: int) -> Spans:
        """What is covered in `rows`, int64, ascending; pitch: the raster's width + 1. Of nested rings the outermost
        is the owner."""
        first, last = np.searchsorted(rows, self.top), np.searchsorted(rows, self.bottom)
        count = last - first
        position = rows[slices(first, count)] * pitch + np.repeat(self.col, count)
        order = np.argsort(position, kind="stable")
        position, sign = position[order], np.repeat(self.sign, count)[order]
        depth = np.cumsum(sign)
        opens, closes = (sign > 0) & (depth == 1), (sign < 0) & (depth == 0)
        return Spans(position[opens], position[closes], np.repeat(self.owner, count)[order][opens])


class Cover:
    """The pixels that landslides cover, from the first row to the last; holds the outlines that reach the current row.

    An owner is a landslide's place in the order in which they come, from 0.
    """

    def __init__(self, outlines: Groups, width: int) -> None:
        self._groups = (outlines[index] for index in range(len(outlines)))
        self._next = self._following()
        self._edges, self._known, self._pitch = Edges.none(), 0, width + 1

    def spans(self, rows: Int) -> Spans:
        """What is covered in `rows`, int64, ascending, none of them above those that were asked for before."""
        if not len(rows):
            return Edges.none().spans(rows, self._pitch)
        self._edges = self._edges.reaching(int(rows[0]))
        while self._next is not None and self._next.first_pixel[0, 0] <= rows[-1]:
            group = self._next
            owner = np.repeat(self._known + np.arange(len(group)), group.rings)
            found = Edges.of(group.vertices, group.ring_size, owner).reaching(int(rows[0]))
            self._edges = Edges.joined(self._edges, found)
            self._known += len(group)
            self._next = self._following()
        return self._edges.spans(rows, self._pitch)

    def _following(self) -> Outlines | None:
        return next((group for group in self._groups if len(group)), None)

    def draw(self, row: int, height: int) -> Bytes:
        """1 where a pixel is covered, else 0: uint8, (height, W), of the rows from `row` on."""
        spans = self.spans(np.arange(row, row + height))
        if not len(spans.start):
            return np.zeros((height, self._pitch - 1), np.uint8)
        steps = np.zeros(height * self._pitch, np.int8)
        steps[spans.start - row * self._pitch] = 1
        steps[spans.stop - row * self._pitch] = -1
        covered = np.cumsum(steps, dtype=np.int8).reshape(height, self._pitch)
        return covered[:, :-1].astype(np.uint8)
