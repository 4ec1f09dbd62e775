"""The probability and mask rasters as Cloud Optimized GeoTIFFs, compressed while the map streams by.

GDAL's COG driver begins when the raster is complete: it needs a copy of the whole map on the disk, and its work comes
when the network's is over. Here blocks and overviews are compressed as their rows arrive, and what is left at the end
is to put bytes in order.
"""

import warnings
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from calanddet.runtime.errors import OutputError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.sinks.geotags import GDAL_NODATA, geo_tags
from calanddet.runtime.sinks.pyramid import BLOCK, Pyramid, level_shapes
from calanddet.runtime.sinks.tiff import LONG, SHORT, Directory, Tag, write_cog
from calanddet.runtime.spec import NODATA
from calanddet.runtime.types import Bytes

__all__ = ["CogFile", "CogLook", "Grid", "MapRasters"]

DEFLATE, HORIZONTAL = 8, 2


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The raster that is mapped: its size in pixels and where it lies."""

    height: int
    width: int
    georeference: Georeference = field(default_factory=Georeference)

    def __post_init__(self) -> None:
        if self.height <= 0 or self.width <= 0:
            raise ValueError(f"a raster needs a positive size, not {self.height} x {self.width}")


@dataclass(frozen=True, slots=True)
class CogLook:
    """What distinguishes two rasters of one grid: band description, tags, and which byte stands for which.

    table: 256 bytes, the raster's byte for every probability byte, or None for the probability itself.
    """

    description: str
    tags: Mapping[str, str] = field(default_factory=dict)
    table: bytes | None = None

    @classmethod
    def mask(cls, threshold_byte: int, tags: Mapping[str, str]) -> "CogLook":
        """1 where the probability byte reaches `threshold_byte`, 0 below, 255 for nodata."""
        table = bytes(int(byte >= threshold_byte) for byte in range(NODATA)) + bytes([NODATA])
        return cls("landslide", tags, table)


class CogFile:
    """One Cloud Optimized GeoTIFF, fed with compressed blocks; block files beside it hold them until `finish`.

    DEFLATE by run-length matching (zlib's Z_RLE): on probability maps, which are flat or smooth, it is as small as
    the usual string matching at level 4 and takes half its time. Smooth bytes are stored as differences (predictor
    2); those of a mask are not, which would lengthen them.
    """

    def __init__(self, path: Path, grid: Grid, look: CogLook) -> None:
        self._path = path
        self._look = look
        self._tags = geo_tags(grid.georeference, look.description, look.tags)
        self._shapes = level_shapes(grid.height, grid.width)
        self._sizes: list[list[int]] = [[] for _ in self._shapes]
        self._uniform: dict[int, bytes] = {}
        self._blocks: list[BinaryIO] = []
        try:
            for level in range(len(self._shapes)):
                self._blocks.append(self._block_path(level).open("wb"))
        except OSError:
            self.close()
            raise

    def encode(self, block: Bytes) -> bytes:
        """A compressed block from probability bytes, uint8, (BLOCK, BLOCK); may be called from any thread."""
        if self._look.table is not None:
            block = np.asarray(cv2.LUT(block, np.frombuffer(self._look.table, np.uint8)), np.uint8)
        value = int(block[0, 0])
        if value != block.max() or value != block.min():
            return self._deflate(block)
        if value not in self._uniform:
            self._uniform[value] = self._deflate(block)
        return self._uniform[value]

    def append(self, level: int, block: bytes) -> None:
        """Add the next block of a level, in rows from the upper left. Raises OSError when the disk is full."""
        self._blocks[level].write(b"".join([len(block).to_bytes(4, "little"), block, block[-4:]]))
        self._sizes[level].append(len(block))

    @property
    def written(self) -> int:
        """Bytes of all blocks so far."""
        return sum(map(sum, self._sizes))

    def finish(self) -> None:
        """Put the file in order and read it back. Raises OSError, or OutputError where it does not read."""
        for blocks in self._blocks:
            blocks.flush()
        self.close()
        directories = [self._directory(level) for level in range(len(self._shapes))]
        with self._path.open("wb") as out:
            write_cog(out, directories)
        _check(self._path, self._shapes)

    def close(self) -> None:
        """Close the block files; idempotent. What a full disk did not take is given up silently: `finish` tells."""
        for blocks in self._blocks:
            with suppress(OSError):
                blocks.close()

    def _deflate(self, block: Bytes) -> bytes:
        if self._look.table is None:
            smooth, block = block, block.copy()
            np.subtract(smooth[:, 1:], smooth[:, :-1], out=block[:, 1:])
        packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
        return packer.compress(block.tobytes()) + packer.flush()

    def _block_path(self, level: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{level}")

    def _directory(self, level: int) -> Directory:
        height, width = self._shapes[level]
        predictor = () if self._look.table is not None else (Tag.of(317, SHORT, [HORIZONTAL]),)
        tags = (
            Tag.of(254, LONG, [int(level > 0)]),
            Tag.of(256, LONG, [width]),
            Tag.of(257, LONG, [height]),
            Tag.of(258, SHORT, [8]),
            Tag.of(259, SHORT, [DEFLATE]),
            Tag.of(262, SHORT, [1]),
            Tag.of(277, SHORT, [1]),
            Tag.of(284, SHORT, [1]),
            *predictor,
            Tag.of(322, SHORT, [BLOCK]),
            Tag.of(323, SHORT, [BLOCK]),
            Tag.of(339, SHORT, [1]),
            *(tag for tag in self._tags if level == 0 or tag.number == GDAL_NODATA),
        )
        return Directory(tags, self._sizes[level], self._block_path(level))


class MapRasters:
    """Rasters of one grid made from one stream of probability bands, overviews included.

    An overview of the mask is the mask of the probability's overview: landslide where its mean reaches the threshold,
    so that both tell the same at every scale, and neither a lone pixel nor a gap decides for four.
    """

    def __init__(self, grid: Grid, looks: Mapping[Path, CogLook], *, threads: int = 1) -> None:
        """`looks` names the files; blocks are compressed in `threads` threads beside the caller's if above 1."""
        self._pyramid = Pyramid(grid.height, grid.width)
        self._pool = ThreadPoolExecutor(threads, "calanddet-deflate") if threads > 1 else None
        self._files = [CogFile(path, grid, look) for path, look in looks.items()]

    def write(self, band: Bytes) -> None:
        """Take the next rows, uint8, (h, W). Raises OSError when the disk is full."""
        for row in self._pyramid.write(band):
            blocks = np.split(row.pixels, row.pixels.shape[1] // BLOCK, axis=1)
            encoded = (self._pool.map if self._pool else map)(self._encode, blocks)
            for block in list(encoded):
                for file, data in zip(self._files, block, strict=True):
                    file.append(row.level, data)

    @property
    def written(self) -> int:
        """Bytes that lie in block files."""
        return sum(file.written for file in self._files)

    def finish(self) -> None:
        """Complete the files. Raises OSError, or OutputError where one does not read back."""
        for file in self._files:
            file.finish()

    def close(self) -> None:
        """Stop the threads and close the block files; idempotent."""
        if self._pool is not None:
            self._pool.shutdown()
        for file in self._files:
            file.close()

    def _encode(self, block: Bytes) -> list[bytes]:
        return [file.encode(block) for file in self._files]


def _check(path: Path, shapes: Sequence[tuple[int, int]]) -> None:
    """Open what was written and read the last block of every level, where a short write shows."""
    try:
        for level, (height, width) in enumerate(shapes):
            options = {"overview_level": level - 1} if level else {}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = rasterio.open(path, **options)
            with dataset:
                if dataset.shape != (height, width):
                    raise OutputError(f"{path.name} reads back as {dataset.shape}, not {(height, width)}")
                row, col = (height - 1) // BLOCK * BLOCK, (width - 1) // BLOCK * BLOCK
                dataset.read(1, window=Window(col, row, width - col, height - row))
    except (RasterioError, OSError) as error:
        raise OutputError(f"{path.name} does not read back: the disk may be full or failing ({error})") from error
