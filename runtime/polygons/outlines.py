"""The landslides of a whole map, traced while it streams by; finished outlines wait on the disk, not in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.regions import Corners, RegionRecords, RegionScan
from calanddet.runtime.polygons.trace import slices, trace
from calanddet.runtime.types import Bytes

__all__ = ["OutlineScan", "Outlines"]

Int = NDArray[np.int64]
MAX_CORNERS = 1 << 20
"""So many corners may wait before finished regions are traced and put away."""
MAX_VERTICES = 1 << 18
"""So many vertices make a group of outlines, unless a single landslide has more."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Some landslides of a map in scan order of their first pixels, in pixels.

    pixels, total: int64, (n,), pixel count and sum of probability bytes; peak: uint8, (n,), largest byte.
    vertices: int32, (V, 2), (row, col) of pixel corners; ring_size: int64, (R,), vertices of each ring, unclosed;
    rings: int64, (n,), rings of each landslide, the exterior first. On an image drawn with rows downwards exteriors
    run counter-clockwise and holes clockwise.
    """

    pixels: Int
    total: Int
    peak: Bytes
    vertices: NDArray[np.int32]
    ring_size: Int
    rings: Int

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def ring_start(self) -> Int:
        """First vertex of each ring, int64, (R,)."""
        return np.cumsum(self.ring_size) - self.ring_size

    @property
    def first_ring(self) -> Int:
        """First ring of each landslide, int64, (n,)."""
        return np.cumsum(self.rings) - self.rings


class OutlineScan:
    """Takes the map in bands and gives the landslides in it; `spill` is an empty binary file, read and write."""

    def __init__(self, width: int, threshold_byte: int, spill: BinaryIO) -> None:
        self._width = width
        self._regions = RegionScan(width, threshold_byte)
        self._spill = spill
        self._waiting: list[Corners] = []
        self._patience = MAX_CORNERS
        self._ring_size: list[Int] = []
        self._ring_label: list[Int] = []

    def write(self, row: int, band: Bytes) -> None:
        """Take the next rows of the map, probability bytes, uint8, (h, W), with 255 for nodata."""
        self._waiting.append(self._regions.feed(row, band))
        if sum(map(len, self._waiting)) > self._patience:
            self._put_away()

    def finish(self) -> Iterator[Outlines]:
        """All landslides, in groups of bounded size and in scan order of their first pixels."""
        self._waiting.append(self._regions.finish())
        self._put_away()
        self._spill.flush()
        records = self._regions.finished
        order = np.argsort(records.first)
        return self._groups(records.take(order))

    def _put_away(self) -> None:
        """Trace the finished regions; the others wait until there are twice as many corners, so that none is sifted
        more than a few times."""
        corners = Corners.joined(self._waiting)
        label, done = self._regions.resolve(corners.label)
        rings = trace(Corners(corners.code[done], label[done]), self._width)
        self._spill.write(np.ascontiguousarray(rings.vertices, "<i4").tobytes())
        self._ring_size.append(rings.size)
        self._ring_label.append(rings.label)
        self._waiting = [Corners(corners.code[~done], label[~done])]
        self._patience = max(MAX_CORNERS, 2 * int((~done).sum()))

    def _groups(self, records: RegionRecords) -> Iterator[Outlines]:
        table = _RingTable.of(np.concatenate(self._ring_size), np.concatenate(self._ring_label), records.label)
        total = int(table.size.sum())
        stored: NDArray[np.int32] = np.empty((0, 2), np.int32)
        if total:
            stored = np.memmap(self._spill, "<i4", "r", shape=(total, 2))
        for begin, end in _batches(table.vertices, MAX_VERTICES):
            part = records.take(np.arange(begin, end))
            rings = slices(table.first_ring[begin:end], table.rings[begin:end])
            yield Outlines(
                pixels=part.pixels,
                total=part.total,
                peak=part.peak,
                vertices=np.asarray(stored[slices(table.first_vertex[begin:end], table.vertices[begin:end])]),
                ring_size=table.size[rings],
                rings=table.rings[begin:end],
            )


@dataclass(frozen=True, slots=True, eq=False)
class _RingTable:
    """Where the rings and vertices of each region lie in the spill file; all int64.

    size: (R,), of the rings as stored; the rest (n,), one a region.
    """

    size: Int
    first_ring: Int
    rings: Int
    first_vertex: Int
    vertices: Int

    @classmethod
    def of(cls, size: Int, label: Int, wanted: Int) -> "_RingTable":
        """The table for the regions labelled `wanted`; the rings of a region lie together."""
        heads = np.flatnonzero(np.diff(label, prepend=-1))
        sorter = np.argsort(label[heads])
        region = sorter[np.searchsorted(label[heads], wanted, sorter=sorter)]
        rings = np.diff(heads, append=len(label))
        vertices = np.add.reduceat(size, heads) if len(heads) else size
        return cls(
            size=size,
            first_ring=heads[region],
            rings=rings[region],
            first_vertex=(np.cumsum(size) - size)[heads[region]],
            vertices=vertices[region],
        )


def _batches(weights: Int, limit: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of items whose weights sum to at most `limit`, at least one item each."""
    reached = np.cumsum(weights)
    begin = 0
    while begin < len(weights):
        done = int(reached[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(reached, done + limit, side="right")))
        yield begin, end
        begin = end
