"""The landslides of a whole map, traced while it streams by; finished outlines wait on the disk, not in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.regions import Corners, RegionRecords, RegionScan
from calanddet.runtime.polygons.trace import batches, slices, trace
from calanddet.runtime.types import Bytes

__all__ = ["Groups", "OutlineScan", "Outlines", "StoredOutlines"]

Int = NDArray[np.int64]
MAX_CORNERS = 1 << 20
"""So many corners may wait before finished regions are traced and put away."""
MAX_VERTICES = 1 << 18
"""So many vertices make a group of outlines, unless a single landslide has more."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Some landslides of a map in scan order of their first pixels, in pixels.

    pixels, total: int64, (n,), pixel count and sum of probability bytes; peak: uint8, (n,), largest byte; of those that
    reach the threshold, which are all but `filled`, int64, (n,), or 0: pixels of holes that were filled.
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
    filled: Int | int = 0

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def area(self) -> Int:
        """Pixels inside each outline, int64, (n,)."""
        return self.pixels + self.filled

    @property
    def first_pixel(self) -> NDArray[np.int32]:
        """(row, col) of each landslide's first pixel in scan order, int32, (n, 2)."""
        return self.vertices[self.ring_start[self.first_ring]]

    @property
    def ring_start(self) -> Int:
        """First vertex of each ring, int64, (R,)."""
        return np.cumsum(self.ring_size) - self.ring_size

    @property
    def first_ring(self) -> Int:
        """First ring of each landslide, int64, (n,)."""
        return np.cumsum(self.rings) - self.rings


class Groups(Protocol):
    """The landslides of a map in groups, in scan order of their first pixels; any group at any time, some empty."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Outlines: ...


class OutlineScan:
    """Takes the map in bands and gives the landslides in it; `spill` is an empty binary file, read and write.

    Regions whose largest byte is below `least_peak` are none: with a threshold below that this is hysteresis, for which
    a region labelled at the low threshold only has to remember its maximum.
    """

    def __init__(self, width: int, threshold_byte: int, spill: BinaryIO, *, least_peak: int = 0) -> None:
        self._width, self._least_peak = width, least_peak
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

    def finish(self) -> "StoredOutlines":
        """All landslides, in groups of bounded size and in scan order of their first pixels."""
        self._waiting.append(self._regions.finish())
        self._put_away()
        self._spill.flush()
        records = self._regions.finished
        records = records.take(records.peak >= self._least_peak)
        records = records.take(np.argsort(records.first))
        size, label = np.concatenate(self._ring_size), np.concatenate(self._ring_label)
        return StoredOutlines(self._spill, records, _RingTable.of(size, label, records.label))

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


class StoredOutlines:
    """The landslides of a map in groups, any of them at any time while the spill file is open; memory holds the groups
    that are held and a record a landslide."""

    def __init__(self, spill: BinaryIO, records: RegionRecords, table: _RingTable) -> None:
        self._records, self._table = records, table
        self._ranges = list(batches(table.vertices, MAX_VERTICES))
        total = int(table.size.sum())
        self._stored: NDArray[np.int32] = np.empty((0, 2), np.int32)
        if total:
            self._stored = np.memmap(spill, "<i4", "r", shape=(total, 2))

    def __len__(self) -> int:
        return len(self._ranges)

    def __getitem__(self, index: int) -> Outlines:
        begin, end = self._ranges[index]
        table, part = self._table, self._records.take(np.arange(begin, end))
        rings = slices(table.first_ring[begin:end], table.rings[begin:end])
        return Outlines(
            pixels=part.pixels,
            total=part.total,
            peak=part.peak,
            vertices=np.asarray(self._stored[slices(table.first_vertex[begin:end], table.vertices[begin:end])]),
            ring_size=table.size[rings],
            rings=table.rings[begin:end],
        )

    def __iter__(self) -> Iterator[Outlines]:
        return (self[index] for index in range(len(self)))
