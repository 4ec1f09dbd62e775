"""The TIFF format, as far as a Cloud Optimized GeoTIFF of one byte a pixel needs it: directories before data.

Layout after GDAL's COG driver (gdal.org/drivers/raster/cog.html, "Cloud Optimized GeoTIFF file format"): header, ghost
area, the directory of the full image, those of the overviews from large to small, then the blocks of the smallest
overview first and of the full image last. Before every block stand its size and after it its last four bytes again.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO

from calanddet.runtime.errors import OutputError
from calanddet.runtime.sinks.blocks import LEADER, TRAILER

__all__ = ["Directory", "Tag", "read_tags", "write_cog"]

SHORT, LONG, LONG8 = 3, 4, 16
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_FORMATS = {SHORT: "H", LONG: "I", LONG8: "Q"}
_CLASSIC_LIMIT = 2**32 - 2**16
_GHOST = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)


@dataclass(frozen=True, slots=True)
class Tag:
    """A TIFF tag: its number, the number of its type, how many values, and their little-endian bytes."""

    number: int
    kind: int
    count: int
    data: bytes

    @classmethod
    def of(cls, number: int, kind: int, values: Sequence[int]) -> "Tag":
        """A tag of unsigned whole numbers."""
        return cls(number, kind, len(values), struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values))


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """One image of a TIFF: what describes it, but for its blocks' places; the blocks' sizes; the file of its blocks."""

    tags: tuple[Tag, ...]
    block_sizes: Sequence[int]
    blocks: Path


def read_tags(tiff: bytes, numbers: frozenset[int]) -> tuple[Tag, ...]:
    """The tags with these numbers in the first directory of a little-endian classic TIFF."""
    magic, version, start = struct.unpack_from("<2sHI", tiff)
    if (magic, version) != (b"II", 42):
        raise OutputError(f"expected a little-endian TIFF header from GDAL, not {tiff[:4]!r}")
    (count,) = struct.unpack_from("<H", tiff, start)
    found: list[Tag] = []
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        number, kind, length = struct.unpack_from("<HHI", tiff, entry)
        if number in numbers:
            size = _SIZES[kind] * length
            place = entry + 8 if size <= 4 else struct.unpack_from("<I", tiff, entry + 8)[0]
            found.append(Tag(number, kind, length, tiff[place : place + size]))
    return tuple(found)


def write_cog(out: BinaryIO, directories: Sequence[Directory]) -> None:
    """Write a COG of `directories`, the full image first, overviews from large to small.

    BigTIFF where the file would not fit into 4 GB. Raises OSError when the disk is full.
    """
    total = sum(sum(d.block_sizes) + (LEADER + TRAILER + 16) * len(d.block_sizes) for d in directories)
    form = _Form(big=total > _CLASSIC_LIMIT)
    sizes = [form.directory_size(d) for d in directories]
    start = form.header_size + len(_preamble())
    data = start + sum(sizes)
    first_block: dict[int, int] = {}
    for index in reversed(range(len(directories))):
        first_block[index] = data
        data += sum(directories[index].block_sizes) + (LEADER + TRAILER) * len(directories[index].block_sizes)
    out.write(form.header(start) + _preamble())
    for index, (directory, size) in enumerate(zip(directories, sizes, strict=True)):
        following = start + size if index + 1 < len(directories) else 0
        out.write(form.directory(directory, (start, following), first_block[index]))
        start += size
    for directory in reversed(directories):
        with directory.blocks.open("rb") as blocks:
            copyfileobj(blocks, out, 1 << 20)


def _preamble() -> bytes:
    return b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_GHOST) + _GHOST


class _Form:
    """Classic TIFF or BigTIFF: the widths of offsets and counts."""

    def __init__(self, *, big: bool) -> None:
        self._big = big
        self.header_size = 16 if big else 8
        self._entry = "<HHQ" if big else "<HHI"
        self._count = "<Q" if big else "<H"
        self._offset = "<Q" if big else "<I"
        self._width = struct.calcsize(self._offset)

    def header(self, first_directory: int) -> bytes:
        """The file's first bytes."""
        if self._big:
            return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first_directory)
        return struct.pack("<2sHI", b"II", 42, first_directory)

    def directory_size(self, directory: Directory) -> int:
        """Bytes that the directory takes, with the values that do not fit into its entries."""
        return len(self.directory(directory, (0, 0), 0))

    def directory(self, directory: Directory, places: tuple[int, int], first_block: int) -> bytes:
        """The directory at places[0], the next one at places[1] (0: none), its blocks' leaders from `first_block`."""
        tags = sorted((*directory.tags, *self._block_tags(directory, first_block)), key=lambda tag: tag.number)
        fixed = struct.calcsize(self._count) + (struct.calcsize(self._entry) + self._width) * len(tags) + self._width
        entries, values = [struct.pack(self._count, len(tags))], bytearray()
        for tag in tags:
            value = tag.data.ljust(self._width, b"\0")
            if len(value) > self._width:
                value = struct.pack(self._offset, places[0] + fixed + len(values))
                values += tag.data + b"\0" * (len(tag.data) % 2)
            entries.append(struct.pack(self._entry, tag.number, tag.kind, tag.count) + value)
        return b"".join(entries) + struct.pack(self._offset, places[1]) + bytes(values)

    def _block_tags(self, directory: Directory, first_block: int) -> tuple[Tag, Tag]:
        """TileOffsets and TileByteCounts."""
        offsets, place = [], first_block
        for size in directory.block_sizes:
            offsets.append(place + LEADER)
            place += LEADER + size + TRAILER
        kind = LONG8 if self._big else LONG
        return Tag.of(324, kind, offsets), Tag.of(325, LONG, directory.block_sizes)
