"""Tiles on disk: what is calibrated on is written once and read in batches, so that memory holds one batch."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from types import TracebackType

import numpy as np

from calanddet.runtime.errors import OutputError
from calanddet.runtime.types import Bytes

__all__ = ["TileStore"]


class TileStore:
    """Tiles, uint8 (T, T, 3), in a temporary file that goes with `close`; a context manager.

    Raises OutputError where the folder for temporary files is full or cannot be written.
    """

    def __init__(self, tile: int) -> None:
        self.tile = tile
        self._count = 0
        self._chosen: tuple[int, ...] | None = None
        try:
            self._file = tempfile.TemporaryFile(prefix="calanddet-tiles-")  # noqa: SIM115 (close does it)
        except OSError as error:
            raise OutputError(f"there is no room for calibration tiles: {error.strerror}") from error

    def __len__(self) -> int:
        return self._count if self._chosen is None else len(self._chosen)

    def add(self, tile: Bytes) -> None:
        """Append a tile. Raises ValueError for another shape or dtype, and after `keep`."""
        if tile.shape != (self.tile, self.tile, 3) or tile.dtype != np.uint8:
            raise ValueError(f"tiles are uint8 {(self.tile, self.tile, 3)}, not {tile.dtype} {tile.shape}")
        if self._chosen is not None:
            raise ValueError("the tiles have been chosen already")
        try:
            self._file.seek(self._count * self._size)
            self._file.write(np.ascontiguousarray(tile).data)
            self._file.flush()  # a full disk is told here, and not while tiles are read
        except OSError as error:
            raise OutputError(f"calibration tiles cannot be written to the disk: {error.strerror}") from error
        self._count += 1

    def keep(self, indices: Sequence[int]) -> None:
        """From now on this holds the tiles at `indices`, in that order."""
        if not all(0 <= index < self._count for index in indices):
            raise ValueError(f"indices must be 0 to {self._count - 1}")
        self._chosen = tuple(indices)

    def batches(self, size: int) -> Iterator[Bytes]:
        """All tiles as uint8 (n, T, T, 3), n = `size` but for the last."""
        order = range(self._count) if self._chosen is None else self._chosen
        for start in range(0, len(order), size):
            yield np.stack([self._read(index) for index in order[start : start + size]])

    def digest(self) -> str:
        """sha256 over the bytes of all tiles in their order, in hexadecimal."""
        found = sha256(f"{self.tile}\n".encode())
        for batch in self.batches(1):
            found.update(batch.data)
        return found.hexdigest()

    def close(self) -> None:
        """Delete the file; idempotent."""
        with suppress(OSError):  # what could not be written is deleted anyhow
            self._file.close()

    def __enter__(self) -> "TileStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _size(self) -> int:
        return self.tile * self.tile * 3

    def _read(self, index: int) -> Bytes:
        self._file.seek(index * self._size)
        return np.frombuffer(self._file.read(self._size), np.uint8).reshape(self.tile, self.tile, 3)
