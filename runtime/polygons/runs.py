"""Runs of landslide pixels: what is left of a band of the map once its uniform stretches are dropped.

A pixel corner has one number, its position: row * (width + 1) + column. A run is the position of its first pixel's
upper left corner and that of the corner after its last pixel, so runs of different rows never touch.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.spec import NODATA
from calanddet.runtime.types import Bytes

__all__ = ["Runs", "adjacent", "components", "find_runs"]

Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Horizontal runs of landslide pixels in scan order.

    start, stop: int64, (n,), positions; total: int64, (n,), sum of the probability bytes; peak: uint8, (n,), largest.
    """

    start: Int
    stop: Int
    total: Int
    peak: Bytes

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def none(cls) -> "Runs":
        """No runs at all."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, np.empty(0, np.uint8))

    def followed_by(self, other: "Runs") -> "Runs":
        """These runs and then those of `other`."""
        return Runs(
            np.concatenate([self.start, other.start]),
            np.concatenate([self.stop, other.stop]),
            np.concatenate([self.total, other.total]),
            np.concatenate([self.peak, other.peak]),
        )

    def since(self, position: int) -> "Runs":
        """The runs that start at or after `position`."""
        first = int(np.searchsorted(self.start, position))
        return Runs(self.start[first:], self.stop[first:], self.total[first:], self.peak[first:])


def find_runs(row: int, band: Bytes, threshold_byte: int) -> Runs:
    """Runs of pixels with threshold_byte <= probability < 255 in `band`, uint8, (h, W), whose first row is `row`."""
    pitch = band.shape[1] + 1
    padded = cv2.copyMakeBorder(band, 0, 0, 0, 1, cv2.BORDER_CONSTANT, value=0)
    flat = np.asarray(padded, np.uint8).ravel()
    mask = np.asarray(cv2.inRange(padded, threshold_byte, NODATA - 1), np.uint8).ravel()
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    if mask[0]:
        edges = np.concatenate([np.zeros(1, np.int64), edges])
    if not len(edges):
        return Runs.none()
    # Every row ends in a column of zeros, so edges alternate: a run starts, a run stops.
    total = np.add.reduceat(flat, edges, dtype=np.uint32)[::2].astype(np.int64)
    peak = np.maximum.reduceat(flat, edges)[::2]
    edges = edges.astype(np.int64) + row * pitch
    return Runs(edges[::2], edges[1::2], total, peak)


def adjacent(upper: Runs, lower: Runs, pitch: int) -> tuple[Int, Int]:
    """Pairs (index in upper, index in lower) of runs that share a pixel side, `lower` one row below `upper`.

    A run is `pitch` positions wide with its gap to the next row; both are in scan order and may hold many rows.
    """
    first = np.searchsorted(upper.stop + pitch, lower.start, side="right")
    last = np.searchsorted(upper.start + pitch, lower.stop, side="left")
    count = np.maximum(last - first, 0)
    below = np.repeat(np.arange(len(lower)), count)
    offset = np.arange(len(below)) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + offset, below


def components(nodes: int, left: Int, right: Int) -> Int:
    """Connected components of a graph: int64, (nodes,), the smallest node of each node's component.

    left, right: int64, (edges,). Roots are hooked onto smaller roots and paths halved until nothing moves: the
    vectorised union-find of Shiloach and Vishkin (1982).
    """
    parent = np.arange(nodes)
    while len(left):
        left, right = parent[left], parent[right]
        apart = left != right
        left, right = left[apart], right[apart]
        np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))
        while True:
            grand = parent[parent]
            if np.array_equal(grand, parent):
                break
            parent = grand
    return parent
