"""Landslides counted while the map streams by: one record a region, labels merged from band to band."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.runs import Runs, adjacent, components, find_runs
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Corners", "RegionRecords", "RegionScan"]

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """Where the outline of a landslide turns, in scan order; where two pixels touch diagonally there are two entries.

    code: int64, (n,), 4 * position + 2 * (1 where a run starts, 0 where it stops) + (1 where that run lies below the
    corner, 0 above); label: int64, (n,), of that run's region.
    """

    code: Int
    label: Int

    def __len__(self) -> int:
        return len(self.code)

    @classmethod
    def none(cls) -> "Corners":
        """No corners at all."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def joined(cls, parts: "list[Corners]") -> "Corners":
        """All corners of `parts`, in their order."""
        if not parts:
            return cls.none()
        return cls(np.concatenate([p.code for p in parts]), np.concatenate([p.label for p in parts]))


@dataclass(frozen=True, slots=True, eq=False)
class RegionRecords:
    """What is known of regions of landslide pixels, 4-connected.

    label: int64, (n,); first: int64, (n,), position of the first pixel in scan order; pixels: int64, (n,);
    total: int64, (n,), sum of the probability bytes; peak: uint8, (n,), the largest.
    """

    label: Int
    first: Int
    pixels: Int
    total: Int
    peak: Bytes

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def none(cls) -> "RegionRecords":
        """No records at all."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, empty, np.empty(0, np.uint8))

    @classmethod
    def joined(cls, parts: "list[RegionRecords]") -> "RegionRecords":
        """All records of `parts`, in their order."""
        if not parts:
            return cls.none()
        return cls(
            label=np.concatenate([p.label for p in parts]),
            first=np.concatenate([p.first for p in parts]),
            pixels=np.concatenate([p.pixels for p in parts]),
            total=np.concatenate([p.total for p in parts]),
            peak=np.concatenate([p.peak for p in parts]),
        )

    def take(self, which: Bool | Int) -> "RegionRecords":
        """The records at an index or under a mask."""
        return RegionRecords(
            self.label[which], self.first[which], self.pixels[which], self.total[which], self.peak[which]
        )


class RegionScan:
    """Labels landslides in one pass over bands of rows, holding the last row and the regions that reach it.

    Labels grow from 0; a region bears another one after every band that it crosses, and `resolve` gives the last.
    """

    def __init__(self, width: int, threshold_byte: int) -> None:
        self._pitch = width + 1
        self._threshold = threshold_byte
        self._above = Runs.none()
        self._above_region = np.empty(0, np.int64)
        self._open = RegionRecords.none()
        self._finished: list[RegionRecords] = []
        self._renamed: list[tuple[Int, Int]] = []
        self._labels = 0

    def feed(self, row: int, band: Bytes) -> Corners:
        """Take the next rows of the map, uint8, (h, W), from row `row` on; gives the corners of their upper sides."""
        runs = find_runs(row, band, self._threshold)
        if not len(runs) and not len(self._above):
            return Corners.none()
        return self._advance(runs, row + len(band) - 1)

    def finish(self) -> Corners:
        """Close every region below the last row; gives the corners of that row's lower side."""
        return self._advance(Runs.none(), 0) if len(self._above) else Corners.none()

    @property
    def finished(self) -> RegionRecords:
        """Records of the regions that no later row can reach."""
        return RegionRecords.joined(self._finished)

    def resolve(self, label: Int) -> tuple[Int, Bool]:
        """The last label of each region in `label`, int64, (n,), and whether that region is finished, bool, (n,)."""
        parent = np.arange(self._labels)
        for old, new in self._renamed:
            parent[old] = new
        while not np.array_equal(grand := parent[parent], parent):
            parent = grand
        done = np.ones(self._labels, np.bool_)
        done[self._open.label] = False
        last = parent[label]
        return last, done[last]

    def _advance(self, runs: Runs, last_row: int) -> Corners:
        known = len(self._open)
        upper = self._above.followed_by(runs)
        node = np.concatenate([self._above_region, known + np.arange(len(runs))])
        above, below = adjacent(upper, runs, self._pitch)
        root = components(known + len(runs), node[above], known + below)
        roots, member = np.unique(root, return_inverse=True)
        records = self._merge(runs, member, len(roots))
        label = records.label[member[node]]
        bottom = runs.since(last_row * self._pitch)
        inner = len(upper) - len(bottom)
        corners = _corners(
            _edges(upper.start[:inner] + self._pitch, upper.stop[:inner] + self._pitch, label[:inner]),
            _edges(runs.start, runs.stop, label[len(self._above) :]),
        )
        self._keep_open(records, bottom, member[len(member) - len(bottom) :])
        return corners

    def _merge(self, runs: Runs, member: Int, regions: int) -> RegionRecords:
        """Records of `regions` regions, whose members are the open regions and then the runs."""
        before = self._open
        label = self._labels + np.arange(regions)
        self._labels += regions
        if len(before):
            self._renamed.append((before.label, label[member[: len(before)]]))
        first = np.full(regions, np.iinfo(np.int64).max)
        np.minimum.at(first, member, np.concatenate([before.first, runs.start]))
        pixels, total, peak = np.zeros(regions, np.int64), np.zeros(regions, np.int64), np.zeros(regions, np.uint8)
        np.add.at(pixels, member, np.concatenate([before.pixels, runs.stop - runs.start]))
        np.add.at(total, member, np.concatenate([before.total, runs.total]))
        np.maximum.at(peak, member, np.concatenate([before.peak, runs.peak]))
        return RegionRecords(label, first, pixels, total, peak)

    def _keep_open(self, records: RegionRecords, bottom: Runs, region: Int) -> None:
        """Remember the last row, `bottom`, and its regions; the others are finished."""
        reaching, self._above_region = np.unique(region, return_inverse=True)
        self._above = bottom
        self._open = records.take(reaching)
        finished = np.ones(len(records), np.bool_)
        finished[reaching] = False
        self._finished.append(records.take(finished))


def _edges(start: Int, stop: Int, label: Int) -> Corners:
    """Both ends of every run as corners above it."""
    code = np.empty(2 * len(start), np.int64)
    code[::2] = 4 * start + 2
    code[1::2] = 4 * stop
    return Corners(code, np.repeat(label, 2))


def _corners(above: Corners, below: Corners) -> Corners:
    """Where runs start or stop on one side of a row's border only, or on both but one starting and one stopping."""
    code = np.concatenate([above.code, below.code + 1])
    order = np.argsort(code, kind="stable")
    code, label = code[order], np.concatenate([above.label, below.label])[order]
    turns = np.ones(len(code), np.bool_)
    straight = code[1:] >> 1 == code[:-1] >> 1
    turns[1:] &= ~straight
    turns[:-1] &= ~straight
    return Corners(code[turns], label[turns])
