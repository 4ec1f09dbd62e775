"""A source that counts how often each of its storage blocks is decoded, and what a process reads from files."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.sources.wrapped import WrappedSource, clipped, nothing
from calanddet.runtime.types import Pixels, Window

__all__ = ["CountingSource", "EmptySource", "bytes_read", "most_memory"]


class CountingSource(WrappedSource):
    """Counts, as if nothing were cached below it, how often each block is decoded: `blocks`, int, (rows, cols)."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        (rows, cols), (height, width) = source.info.shape, source.info.block
        self.blocks = np.zeros((-(-rows // height), -(-cols // width)), int)
        self.windows: list[Window] = []

    def read(self, window: Window) -> Pixels:
        self.windows.append(window)
        inside = clipped(window, self.info.shape)
        if inside is not None:
            height, width = self.info.block
            rows = slice(inside.row // height, -(-inside.stop_row // height))
            self.blocks[rows, inside.col // width : -(-inside.stop_col // width)] += 1
        return super().read(window)


class EmptySource:
    """A raster of any size that takes no memory; nothing in it is valid."""

    def __init__(self, shape: tuple[int, int], block: tuple[int, int], **facts: Any) -> None:
        small = ArraySource(np.zeros((1, 1, 3), np.uint8))
        identity = {"bytes": 0, "mtime_ns": 0, "files": []}
        self.info = replace(small.info, shape=shape, block=block, identity=identity, **facts)

    def read(self, window: Window) -> Pixels:
        return nothing(window.height, window.width)

    def thumbnail(self, longest: int) -> Pixels:
        return nothing(1, 1)

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> "EmptySource":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""


def most_memory(source: Source, rows: int) -> int:
    """Bytes that NumPy takes at most while a source is read from top to bottom in strips of so many rows."""
    height, width = source.info.shape
    tracemalloc.start()
    try:
        for row in range(0, height, rows):
            source.read(Window(row, 0, min(rows, height - row), width))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bytes_read() -> int:
    """Bytes that this process has read from files so far, as the kernel counts them; Linux only."""
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar"))
    return int(line.split()[1])
