"""Vertices that lie between a chain of vertices and the straight line between its ends; exact, in whole pixels."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.chains import Chains
from calanddet.runtime.polygons.trace import batches, slices
from calanddet.runtime.types import Bool

__all__ = ["Vertices", "between"]

Int = NDArray[np.int64]

AT_ONCE = 1 << 18
"""So many rows of boxes, or pairs of vertex and edge, are looked at together."""


@dataclass(frozen=True, slots=True, eq=False)
class Vertices:
    """Vertices that can be looked up by place: code: int64, (V,), ascending; index: int64, (V,), of each in its array;
    pitch: a code is row * pitch + column."""

    code: Int
    index: Int
    pitch: int

    @classmethod
    def of(cls, vertices: NDArray[np.int32]) -> "Vertices":
        """Sort vertices, int32, (V, 2), (row, col)."""
        pitch = int(vertices[:, 1].max(initial=0)) + 1
        code = vertices[:, 0].astype(np.int64) * pitch + vertices[:, 1]
        index = np.argsort(code, kind="stable")
        return cls(code[index], index, pitch)

    def repeated(self) -> Bool:
        """Which of the vertices, in the order of their array, are at one place with another: bool, (V,)."""
        same = self.code[1:] == self.code[:-1]
        found = np.zeros(len(self.code), np.bool_)
        found[self.index[1:][same]] = True
        found[self.index[:-1][same]] = True
        return found

    def holds(self, vertices: NDArray[np.int32]) -> Bool:
        """Which of `vertices`, int32, (n, 2), are at the place of one of these: bool, (n,)."""
        inside = vertices[:, 1] < self.pitch
        code = vertices[:, 0].astype(np.int64) * self.pitch + vertices[:, 1]
        place = np.searchsorted(self.code, code)
        known = inside & (place < len(self.code))
        known[known] = self.code[place[known]] == code[known]
        return known

    def in_row(self, row: Int, low: Int, high: Int) -> tuple[Int, Int]:
        """Where in `code` those of a row from column low to high, inclusive, begin, and how many they are."""
        begin = np.searchsorted(self.code, row * self.pitch + np.minimum(low, self.pitch))
        end = np.searchsorted(self.code, row * self.pitch + np.minimum(high, self.pitch - 1), side="right")
        return begin, np.maximum(end - begin, 0)


def between(vertices: NDArray[np.int32], chains: Chains, chain: Int, others: Vertices, *, own: bool) -> Int:
    """Those of `chain` with a vertex of `others` between them and the line between their ends, or on that line.

    vertices: int32, (V, 2), of the chains; own: whether `others` are these, of which a chain's own do not count.
    A vertex at the place of a chain's end does not count either.
    """
    found = [np.empty(0, np.int64)]
    boxes = _Boxes.of(vertices.astype(np.int64), chains, chain)
    for begin, end in batches(boxes.height, AT_ONCE):
        tall = boxes.part(begin, end)
        for first, last in batches(_vertices_in(tall, others), AT_ONCE):
            few = tall.part(first, last)
            found.append(few.chain[_some_between(few, others, own=own)])
    return np.concatenate(found)


@dataclass(frozen=True, slots=True, eq=False)
class _Boxes:
    """Chains with the boxes around them; all int64, (n,), but vertices, int64, (V, 2).

    least, most: the smallest and largest offset of a chain's vertices from its line, times the line's length.
    """

    vertices: Int
    chain: Int
    inner: Int
    end: Int
    top: Int
    bottom: Int
    left: Int
    right: Int
    least: Int
    most: Int

    def __len__(self) -> int:
        return len(self.chain)

    @classmethod
    def of(cls, vertices: Int, chains: Chains, chain: Int) -> "_Boxes":
        """The boxes around `chain`."""
        inner, end = chains.inner(chain), chains.end(chain)
        edges = inner + 1
        first = np.cumsum(edges) - edges
        which = np.repeat(np.arange(len(chain)), edges)
        points = vertices[slices(chain, edges)]
        offset = _cross(vertices[end][which] - vertices[chain][which], points - vertices[chain][which])
        last = vertices[end]

        def extreme(ufunc: np.ufunc, values: Int) -> Int:
            return np.asarray(ufunc.reduceat(values, first)) if len(first) else first

        return cls(
            vertices=vertices,
            chain=chain,
            inner=inner,
            end=end,
            top=np.minimum(extreme(np.minimum, points[:, 0]), last[:, 0]),
            bottom=np.maximum(extreme(np.maximum, points[:, 0]), last[:, 0]),
            left=np.minimum(extreme(np.minimum, points[:, 1]), last[:, 1]),
            right=np.maximum(extreme(np.maximum, points[:, 1]), last[:, 1]),
            least=extreme(np.minimum, offset),
            most=extreme(np.maximum, offset),
        )

    @property
    def height(self) -> Int:
        """Rows of vertices in each box."""
        return self.bottom - self.top + 1

    def part(self, begin: int, end: int) -> "_Boxes":
        """Some of them."""
        columns = (getattr(self, field.name) for field in fields(self)[1:])
        return _Boxes(self.vertices, *(column[begin:end] for column in columns))


def _some_between(boxes: _Boxes, others: Vertices, *, own: bool) -> Bool:
    """Which of the boxes' chains have a vertex between them and their line."""
    which, index, place = _in_boxes(boxes, others)
    begin, end = boxes.vertices[boxes.chain[which]], boxes.vertices[boxes.end[which]]
    foreign = (place != begin).any(axis=1) & (place != end).any(axis=1)
    if own:
        step = index - boxes.chain[which]
        foreign &= (step < 0) | (step > boxes.inner[which])
    offset = _cross(end - begin, place - begin)
    near = foreign & (offset >= boxes.least[which]) & (offset <= boxes.most[which])
    which, place, offset = which[near], place[near], offset[near]
    begin, end = begin[near], end[near]
    ahead = ((place - begin) * (end - begin)).sum(axis=1)
    on_line = (offset == 0) & (ahead >= 0) & (ahead <= ((end - begin) ** 2).sum(axis=1))
    found = np.zeros(len(boxes), np.bool_)
    found[which[on_line]] = True
    rest = ~on_line & ~found[which]
    which, place = which[rest], place[rest]
    for start, stop in batches(boxes.inner[which] + 2, AT_ONCE):
        inside = _inside(boxes, which[start:stop], place[start:stop])
        found[which[start:stop][inside]] = True
    return found


def _vertices_in(boxes: _Boxes, others: Vertices) -> Int:
    """How many vertices lie in each box, int64, (n,)."""
    box = np.repeat(np.arange(len(boxes)), boxes.height)
    _, count = others.in_row(slices(boxes.top, boxes.height), boxes.left[box], boxes.right[box])
    return np.add.reduceat(count, np.cumsum(boxes.height) - boxes.height)


def _in_boxes(boxes: _Boxes, others: Vertices) -> tuple[Int, Int, Int]:
    """All pairs of a box and a vertex in it: the box, int64, (m,), the vertex's index, (m,), and its place, (m, 2)."""
    box = np.repeat(np.arange(len(boxes)), boxes.height)
    row = slices(boxes.top, boxes.height)
    begin, count = others.in_row(row, boxes.left[box], boxes.right[box])
    at = slices(begin, count)
    place = np.stack(np.divmod(others.code[at], others.pitch), axis=1)
    return np.repeat(box, count), others.index[at], place


def _inside(boxes: _Boxes, which: Int, place: Int) -> Bool:
    """Whether each place is inside the loop of its chain and the line back: an odd number of edges west of it."""
    inner = boxes.inner[which]
    edges = inner + 2
    number = np.repeat(np.arange(len(which)), edges)
    step = slices(np.zeros_like(edges), edges)
    first, last = boxes.chain[which][number], boxes.end[which][number]
    length = inner[number]
    tail = np.where(step <= length, first + step, last)
    head = np.where(step < length, first + step + 1, np.where(step == length, last, first))
    start, stop = boxes.vertices[tail], boxes.vertices[head]
    point = place[number]
    spans = (start[:, 0] > point[:, 0]) != (stop[:, 0] > point[:, 0])
    west = (_cross(stop - start, point - start) > 0) == (stop[:, 0] > start[:, 0])
    return np.asarray(np.bincount(number[spans & west], minlength=len(which)) % 2 == 1)


def _cross(one: Int, other: Int) -> Int:
    """row * col' - col * row', int64, (n,)."""
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])
