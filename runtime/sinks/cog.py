"""The probability and mask rasters as Cloud Optimized GeoTIFFs, compressed while the map streams by.

GDAL's COG driver begins when the raster is complete: it needs a copy of the whole map on the disk, and its work comes
when the network's is over. Here blocks and overviews are compressed as their rows arrive, and what is left at the end
is to put bytes in order.
"""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from calanddet.runtime.errors import OutputError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.sinks.blocks import BlockFile, Kept, pack, pack_smooth
from calanddet.runtime.sinks.geotags import GDAL_NODATA, geo_tags
from calanddet.runtime.sinks.pyramid import BLOCK, Pyramid, level_shapes
from calanddet.runtime.sinks.tiff import LONG, SHORT, Directory, Tag, write_cog
from calanddet.runtime.spec import NODATA
from calanddet.runtime.types import Bytes

__all__ = ["CogFile", "CogLook", "Grid", "MapRasters", "block_path"]

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

    def __init__(self, path: Path, grid: Grid, look: CogLook, *, kept: int = 0) -> None:
        """`kept`: bytes of blocks of the full image that an earlier run left, which come again and are passed over."""
        self._path = path
        self._look = look
        self._tags = geo_tags(grid.georeference, look.description, look.tags)
        self._shapes = level_shapes(grid.height, grid.width)
        self._columns = -(-grid.width // BLOCK)
        self._uniform: dict[int, bytes] = {}
        self._blocks: list[BlockFile] = []
        try:
            for level in range(len(self._shapes)):
                self._blocks.append(BlockFile(block_path(path, level), kept=0 if level else kept))
        except (OSError, OutputError):
            self.close()
            raise

    def encode(self, block: Bytes) -> bytes:
        """A compressed block from probability bytes, uint8, (BLOCK, BLOCK); may be called from any thread."""
        value = int(block[0, 0])
        if value != block.max() or value != block.min():
            return self._deflate(self._looked_up(block))
        if value not in self._uniform:
            self._uniform[value] = self._deflate(self._looked_up(block))
        return self._uniform[value]

    def _looked_up(self, block: Bytes) -> Bytes:
        if self._look.table is None:
            return block
        return np.asarray(cv2.LUT(block, np.frombuffer(self._look.table, np.uint8)), np.uint8)

    def append(self, level: int, block: bytes) -> None:
        """Add the next block of a level, in rows from the upper left. Raises OSError when the disk is full."""
        self._blocks[level].append(block)

    def passes(self, level: int, count: int) -> bool:
        """Whether the next `count` blocks of a level are there already; they need not be encoded and appended then."""
        return self._blocks[level].passes(count)

    def secure(self) -> Kept:
        """Bring the complete rows of blocks of the full image to the disk, and say what they are. Raises OSError."""
        rows = self.complete_rows
        return Kept(rows, self._blocks[0].secure(-(-rows // BLOCK) * self._columns))

    @property
    def complete_rows(self) -> int:
        """Rows of the full image in complete rows of blocks."""
        return min(len(self._blocks[0].sizes) // self._columns * BLOCK, self._shapes[0][0])

    @property
    def written(self) -> int:
        """Bytes of all blocks so far."""
        return sum(sum(blocks.sizes) for blocks in self._blocks)

    def finish(self) -> None:
        """Put the file in order and read it back; the blocks of the full image stay, so that this can be done again.

        Raises OSError, or OutputError where it does not read.
        """
        for blocks in self._blocks:
            blocks.flush()
        self.close()
        directories = [self._directory(level) for level in range(len(self._shapes))]
        with self._path.open("wb") as out:
            write_cog(out, directories)
        _check(self._path, self._shapes)
        for blocks in self._blocks[1 if self._look.table is None else 0 :]:
            blocks.path.unlink()

    def close(self) -> None:
        """Close the block files; idempotent. What a full disk did not take is given up silently: `finish` tells."""
        for blocks in self._blocks:
            blocks.close()

    def _deflate(self, block: Bytes) -> bytes:
        return pack_smooth(block) if self._look.table is None else pack(block)

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
        return Directory(tags, self._blocks[level].sizes, self._blocks[level].path)


class MapRasters:
    """Rasters of one grid made from one stream of probability bands, overviews included.

    An overview of the mask is the mask of the probability's overview: landslide where its mean reaches the threshold,
    so that both tell the same at every scale, and neither a lone pixel nor a gap decides for four.
    """

    def __init__(self, grid: Grid, looks: Mapping[Path, CogLook], *, threads: int = 1, kept: int = 0) -> None:
        """`looks` names the files, that of the probability first; blocks are compressed in `threads` threads beside the
        caller's if above 1; the first file's full image has `kept` bytes from an earlier run, whose rows come again."""
        self._pyramid = Pyramid(grid.height, grid.width)
        self._pool = ThreadPoolExecutor(threads, "calanddet-deflate") if threads > 1 else None
        self._files: list[CogFile] = []
        try:
            for path, look in looks.items():
                self._files.append(CogFile(path, grid, look, kept=0 if self._files else kept))
        except (OSError, OutputError):
            self.close()
            raise

    def write(self, band: Bytes) -> None:
        """Take the next rows, uint8, (h, W). Raises OSError when the disk is full."""
        for row in self._pyramid.write(band):
            blocks = np.split(row.pixels, row.pixels.shape[1] // BLOCK, axis=1)
            for file in self._files:
                if file.passes(row.level, len(blocks)):
                    continue
                if row.blank:
                    coded = [file.encode(blocks[0])] * len(blocks)
                else:
                    coded = list((self._pool.map if self._pool else map)(file.encode, blocks))
                for data in coded:
                    file.append(row.level, data)

    @property
    def complete_rows(self) -> int:
        """Rows that `secure` would keep."""
        return self._files[0].complete_rows

    def secure(self) -> Kept:
        """Bring what is complete of the first file's full image to the disk, and say what it is. Raises OSError."""
        return self._files[0].secure()

    @property
    def written(self) -> int:
        """Bytes that lie in block files."""
        return sum(file.written for file in self._files)

    def finish(self) -> None:
        """Complete the files. Raises OSError, or OutputError where one does not read back."""
        self._pyramid.close()
        for file in self._files:
            file.finish()

    def close(self) -> None:
        """Stop the threads and close the block files; idempotent."""
        if self._pool is not None:
            self._pool.shutdown()
        for file in self._files:
            file.close()


def block_path(path: Path, level: int) -> Path:
    """Where the blocks of a level of the raster `path` grow."""
    return path.with_name(f"{path.name}.{level}")


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
