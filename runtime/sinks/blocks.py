"""Compressed blocks on the disk: where a COG grows, and what a run that was stopped can be taken up from.

A block file holds blocks one after another as a COG wants them: before every block its size in four bytes, after it its
last four bytes again. Its blocks are DEFLATE streams, which end in a checksum, so what is read back is what was written
or an error.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from calanddet.runtime.errors import OutputError
from calanddet.runtime.sinks.pyramid import BLOCK
from calanddet.runtime.types import Bytes

__all__ = ["LEADER", "TRAILER", "BlockFile", "DamagedWork", "Kept", "kept_bands", "pack", "pack_smooth"]

LEADER = TRAILER = 4
"""Bytes around every block."""


class DamagedWork(OutputError):
    """What an earlier run left to be taken up does not read back."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a map is safe on the disk: its first `rows`, in the first `bytes` of its block file."""

    rows: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        if self.rows < 0 or self.bytes < 0 or (self.rows == 0) != (self.bytes == 0):
            raise ValueError(f"{self.rows} rows cannot lie in {self.bytes} bytes")


class BlockFile:
    """One level of a raster, growing block by block, in rows from the upper left.

    With `kept` bytes of an earlier run they stay and all behind them goes; that many blocks are passed over when they
    come again. Raises OSError, or DamagedWork where what is kept is not whole.
    """

    def __init__(self, path: Path, *, kept: int = 0) -> None:
        self.path = path
        self.sizes: list[int] = []
        self._again = 0
        if kept and not path.is_file():
            raise DamagedWork(f"{path.name} is gone")
        self._file: BinaryIO = path.open("r+b" if kept else "wb")
        if kept:
            try:
                self._take_up(kept)
            except (OSError, DamagedWork):
                self.close()
                raise

    def append(self, block: bytes) -> None:
        """Add the next block. Raises OSError when the disk is full."""
        self._file.write(b"".join([len(block).to_bytes(LEADER, "little"), block, block[-TRAILER:]]))
        self.sizes.append(len(block))

    def passes(self, count: int) -> bool:
        """Whether the next `count` blocks are here since an earlier run; they need not be appended then."""
        if self._again < count:
            return False
        self._again -= count
        return True

    def secure(self, blocks: int) -> int:
        """Bring the first `blocks` blocks to the disk, and give the bytes that they take. Raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return sum(self.sizes[:blocks]) + blocks * (LEADER + TRAILER)

    def flush(self) -> None:
        """Hand everything to the system. Raises OSError."""
        self._file.flush()

    def close(self) -> None:
        """Close the file; idempotent. What a full disk did not take is given up silently."""
        with suppress(OSError):
            self._file.close()

    def _take_up(self, kept: int) -> None:
        at, end = 0, self._file.seek(0, os.SEEK_END)
        while at < min(kept, end):
            self._file.seek(at)
            size = int.from_bytes(self._file.read(LEADER), "little")
            self.sizes.append(size)
            at += LEADER + size + TRAILER
        if at != kept or kept > end:
            raise DamagedWork(f"{self.path.name} has {end} bytes, which do not hold the {kept} bytes of blocks kept")
        self._file.truncate(kept)
        self._file.seek(kept)
        self._again = len(self.sizes)


def pack_smooth(block: Bytes) -> bytes:
    """A block, uint8, (H, W), compressed as differences along its rows (TIFF predictor 2) by DEFLATE's run lengths."""
    steps = block.copy()
    np.subtract(block[:, 1:], block[:, :-1], out=steps[:, 1:])
    return pack(steps)


def pack(block: Bytes) -> bytes:
    """A block, uint8, (H, W), compressed by DEFLATE's run lengths as it is."""
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packer.compress(block.tobytes()) + packer.flush()


def kept_bands(path: Path, kept: Kept, shape: tuple[int, int]) -> Iterator[tuple[int, Bytes]]:
    """(row, band) of the rows that `path` keeps of a raster of `shape`, bands uint8, (h, W), valid until the next.

    The file may be growing meanwhile. Raises OSError, or DamagedWork where a block does not read back.
    """
    height, width = shape
    columns = -(-width // BLOCK)
    rows: Bytes = np.empty((BLOCK, columns * BLOCK), np.uint8)
    with path.open("rb") as file:
        for row in range(0, kept.rows, BLOCK):
            last = b""
            for col in range(columns):
                place = rows[:, col * BLOCK : (col + 1) * BLOCK]
                data = _next_block(file)
                place[...] = (
                    rows[:, (col - 1) * BLOCK : col * BLOCK] if last and data == last else _unpacked(data, path)
                )
                last = data
            yield row, rows[: min(BLOCK, height - row), :width]
        if file.tell() != kept.bytes:
            raise DamagedWork(f"{path.name} holds {kept.rows} rows in {file.tell()} bytes, not in {kept.bytes}")


def _next_block(file: BinaryIO) -> bytes:
    size = int.from_bytes(file.read(LEADER), "little")
    return file.read(size + TRAILER)[:size]


def _unpacked(data: bytes, path: Path) -> Bytes:
    """The block, uint8, (BLOCK, BLOCK), that `pack_smooth` made into `data`."""
    try:
        steps = np.frombuffer(zlib.decompress(data), np.uint8).reshape(BLOCK, BLOCK)
    except (zlib.error, ValueError) as error:
        raise DamagedWork(f"a block of {path.name} does not read back ({error})") from error
    return np.add.accumulate(steps, axis=1, dtype=np.uint8)
