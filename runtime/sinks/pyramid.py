"""A raster and its overviews in rows of blocks, made while the raster streams by."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from calanddet.runtime.spec import NODATA
from calanddet.runtime.types import Bytes

__all__ = ["BLOCK", "BlockRow", "Pyramid", "halved", "level_shapes"]

BLOCK = 512


@dataclass(frozen=True, slots=True, eq=False)
class BlockRow:
    """A complete row of blocks of a level, 0 being the raster itself.

    pixels: uint8, (BLOCK, columns * BLOCK), 255 beyond the level's edges; valid only until the next row is asked for.
    blank: whether all of them are 255.
    """

    level: int
    pixels: Bytes
    blank: bool = False


def level_shapes(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """(height, width) of a raster and of its overviews, each half of the one before, until one fits into a block."""
    shapes = [(height, width)]
    while max(shapes[-1]) > BLOCK:
        shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
    return tuple(shapes)


class Pyramid:
    """Takes a raster of bytes in bands of rows, top to bottom; holds one row of blocks a level."""

    def __init__(self, height: int, width: int) -> None:
        self.shapes = level_shapes(height, width)
        self._filled = [0] * len(self.shapes)
        self._begun = [0] * len(self.shapes)
        self._blank = [True] * len(self.shapes)
        self._rows = [np.full((BLOCK, -(-w // BLOCK) * BLOCK), NODATA, np.uint8) for _, w in self.shapes]

    def write(self, band: Bytes) -> Iterator[BlockRow]:
        """Take the next rows, uint8, (h, W); gives the rows of blocks that they complete, of any level."""
        # 255 is the highest byte, so nothing else is in a band whose lowest it is: found at the speed of memory.
        return self._write(None if band.size and band.min() == NODATA else band, len(band), 0)

    def close(self) -> None:
        """Let go of the rows; idempotent. Nothing can be written then."""
        self._rows.clear()

    def _write(self, band: Bytes | None, count: int, level: int) -> Iterator[BlockRow]:
        """Take `count` rows of a level, None where all are 255."""
        height, width = self.shapes[level]
        rows, taken = self._rows[level], 0
        while taken < count:
            filled = self._filled[level]
            part = min(BLOCK - filled, count - taken)
            if band is not None:
                rows[filled : filled + part, :width] = band[taken : taken + part]
                self._blank[level] = False
            taken += part
            self._filled[level] += part
            self._begun[level] += part
            if self._filled[level] == BLOCK or self._begun[level] == height:
                yield from self._complete(level)

    def _complete(self, level: int) -> Iterator[BlockRow]:
        rows, filled, blank = self._rows[level], self._filled[level], self._blank[level]
        yield BlockRow(level, rows, blank)
        if level + 1 < len(self.shapes):
            above = None if blank else halved(rows[:filled, : self.shapes[level][1]])
            yield from self._write(above, (filled + 1) // 2, level + 1)
        if not blank:
            rows.fill(NODATA)
        self._filled[level], self._blank[level] = 0, True


def halved(raster: Bytes) -> Bytes:
    """The mean of every 2 x 2 pixels that are not nodata, halves rounded up: uint8, (ceil(H / 2), ceil(W / 2))."""
    height, width = raster.shape
    even = cv2.copyMakeBorder(raster, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    size = (even.shape[1] // 2, even.shape[0] // 2)
    mean = np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)
    share = cv2.resize(cv2.inRange(even, NODATA, NODATA), size, interpolation=cv2.INTER_AREA)
    mixed = cv2.findNonZero(cv2.inRange(share, 1, NODATA - 1))
    if mixed is not None:
        col, row = mixed.reshape(-1, 2).T
        four = np.stack([even[2 * row + i, 2 * col + j] for i in (0, 1) for j in (0, 1)]).astype(np.uint16)
        valid = four != NODATA
        count = valid.sum(axis=0, dtype=np.uint16)
        mean[row, col] = (np.where(valid, four, 0).sum(axis=0, dtype=np.uint16) + count // 2) // count
    return mean
