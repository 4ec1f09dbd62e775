"""Outlines of landslides: corners linked into closed rings, in whole pixels.

A region's outline is rectilinear, so along every pixel row and column its corners pair up in order: first with second,
third with fourth. Where two of its pixels touch at a point, the rings are led around the empty pixels, so that each
ring visits a point once and the polygon is valid (OGC 06-103r4, 6.1.11); two regions that touch stay two.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.regions import Corners
from calanddet.runtime.types import Bool

__all__ = ["Rings", "batches", "cycles", "slices", "trace"]

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Closed rings, those of a region together, its exterior first and then its holes in scan order.

    vertices: int32, (V, 2), (row, col) of pixel corners, each ring from its first in scan order and not repeating it;
    seen with rows downwards, exteriors run counter-clockwise and holes clockwise.
    size: int64, (R,), vertices of each ring; label: int64, (R,), its region.
    """

    vertices: NDArray[np.int32]
    size: Int
    label: Int


def trace(corners: Corners, width: int) -> Rings:
    """Link all corners of some regions, with their last labels, into rings; `width` is the raster's, in pixels."""
    if not len(corners):
        return Rings(np.empty((0, 2), np.int32), np.empty(0, np.int64), np.empty(0, np.int64))
    scan = np.argsort(corners.code >> 1, kind="stable")
    code, label = corners.code[scan], corners.label[scan]
    row, col = np.divmod(code >> 2, width + 1)
    links = _Links.of(code, label, row, col)
    order, size = cycles(links.successor)
    first_edge = order[np.cumsum(size) - size]
    exterior = links.top[first_edge]
    ring_label = label[2 * first_edge]
    sequence = _vertex_order(links, order, size, exterior)
    rank = np.lexsort((first_edge, ~exterior, ring_label))
    gather = sequence[slices((np.cumsum(2 * size) - 2 * size)[rank], 2 * size[rank])]
    vertices = np.stack([row[gather], col[gather]], axis=1).astype(np.int32)
    return Rings(vertices, 2 * size[rank], ring_label[rank])


@dataclass(frozen=True, slots=True, eq=False)
class _Links:
    """Horizontal edges, from left corner 2k to right corner 2k + 1, directed with the landslide on the left hand.

    tail, head: corners; top: bool, the landslide lies below; successor: the edge that follows.
    """

    tail: Int
    head: Int
    top: Bool
    successor: Int

    @classmethod
    def of(cls, code: Int, label: Int, row: Int, col: Int) -> "_Links":
        starts, below = (code & 2) > 0, (code & 1) > 0
        left = np.arange(0, len(code), 2)
        top = starts[left] == below[left]
        tail, head = left + top, left + ~top
        goes_down = below.copy()
        twin = np.flatnonzero((code[1:] >> 2 == code[:-1] >> 2) & (label[1:] == label[:-1]))
        goes_down[twin] ^= True
        goes_down[twin + 1] ^= True
        column_wise = np.lexsort((goes_down, row, col))
        partner = np.empty(len(code), np.int64)
        partner[column_wise[::2]] = column_wise[1::2]
        partner[column_wise[1::2]] = column_wise[::2]
        return cls(tail, head, top, partner[head] >> 1)


def cycles(successor: Int) -> tuple[Int, Int]:
    """The cycles of a permutation one after another, each from its smallest element, and their lengths."""
    follow = successor.tolist()
    visited = bytearray(len(follow))
    order: list[int] = []
    length: list[int] = []
    for start in range(len(follow)):
        if visited[start]:
            continue
        edge, before = start, len(order)
        while not visited[edge]:
            visited[edge] = 1
            order.append(edge)
            edge = follow[edge]
        length.append(len(order) - before)
    return np.asarray(order, np.int64), np.asarray(length, np.int64)


def _vertex_order(links: _Links, edges: Int, size: Int, exterior: Bool) -> Int:
    """Corners of every ring in turn, two an edge, from the ring's first corner in scan order.

    That is the left end of the ring's first edge: its tail in a hole; its head in an exterior, whose ring is rotated.
    """
    ends = np.stack([links.tail[edges], links.head[edges]], axis=1).ravel()
    length = 2 * size
    begin = np.repeat(np.cumsum(length) - length, length)
    place = np.arange(len(ends)) - begin + np.repeat(exterior, length)
    return np.asarray(ends[begin + place % np.repeat(length, length)])


def slices(start: Int, size: Int) -> Int:
    """Indices of all slices [start, start + size), one after another."""
    return np.asarray(np.arange(int(size.sum())) + np.repeat(start - (np.cumsum(size) - size), size))


def batches(weights: Int, limit: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of items whose weights sum to at most `limit`, at least one item each."""
    reached = np.cumsum(weights)
    begin = 0
    while begin < len(weights):
        done = int(reached[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(reached, done + limit, side="right")))
        yield begin, end
        begin = end
