"""Counts how often GDAL fetches each storage block of a GeoTIFF: it keeps no raw bytes, so a fetch is a decoding."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.io import DatasetReader

__all__ = ["bytes_read", "fetches", "open_counted"]


class CountedFile:
    """A file for rasterio's opener that remembers where it was read: `reads`, (first byte, bytes)."""

    def __init__(self, path: str, reads: list[tuple[int, int]]) -> None:
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115  GDAL closes it
        self._reads = reads

    def read(self, size: int = -1) -> bytes:
        self._reads.append((self._file.tell(), size))
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "CountedFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_counted(path: Path) -> tuple[DatasetReader, list[tuple[int, int]]]:
    """An open dataset and the reads that it makes; to be used in one thread."""
    reads: list[tuple[int, int]] = []

    def opener(name: str, mode: str = "rb", **_: Any) -> CountedFile:
        return CountedFile(name, reads)

    return rasterio.open(path, opener=opener), reads


def fetches(dataset: DatasetReader, reads: list[tuple[int, int]]) -> list[int]:
    """How often each block that is stored was fetched, mask blocks not counted."""
    rows, cols = dataset.block_shapes[0]
    separate = dataset.profile.get("interleave") == "band"
    counts = []
    starts = np.array([start for start, _ in reads])
    for band in dataset.indexes if separate else (1,):
        for row in range(-(-dataset.height // rows)):
            for col in range(-(-dataset.width // cols)):
                offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
                if offset is not None:
                    counts.append(int(np.count_nonzero(starts == int(offset))))
    return counts


def bytes_read() -> int:
    """Bytes that this process has read from files so far, on Linux."""
    words = Path("/proc/self/io").read_text(encoding="ascii").split()
    return int(words[words.index("rchar:") + 1])
