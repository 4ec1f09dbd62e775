"""How much memory a stream takes, in proportion to the raster's width, and what it leaves for GDAL's cache."""

from dataclasses import dataclass

from calanddet.runtime.errors import OptionError
from calanddet.runtime.pipeline.strips import StripRows
from calanddet.runtime.sources.protocol import SourceInfo
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.triage import ScoutGrid

__all__ = ["LEAST_CACHE", "MemoryPlan", "plan_memory"]

LEAST_CACHE = 64 * 2**20
"""Bytes of GDAL's cache that are enough where strips end on block borders."""
DEFAULT_LIMIT = 2**30
"""Bytes that a stream may take where nothing is known of how many are free."""
BYTES_SEEN = 4
"""A pixel that was read: three colours and whether it is valid."""
BYTES_SUMMED = 4
BYTES_WRITTEN = 5
"""Of a pixel in a row of blocks that is written: it, half of it, a quarter (2), and what is made on the way (3)."""
BLOCK_ROWS = 512
"""Rows of a block that is written."""
BANDS_WAITING = 7
"""Finished tile rows on their way to the files, a byte a pixel."""
CACHE_SLACK = 1.1
"""GDAL counts what it keeps of a block beside its pixels, too."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """stream: bytes of the rows that are read, stitched and written; cache: bytes of decoded blocks that GDAL may keep;
    wanted: bytes that it would need so that no block is decoded twice. The model and the program itself come on top.
    """

    stream: int
    cache: int
    wanted: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        if self.cache >= self.wanted:
            return ()
        return (
            f"to decode each of its blocks once takes {_mb(self.wanted)} of cache and there are {_mb(self.cache)}, so "
            f"reading will be slow: allow {_mb(self.stream + self.wanted)} with --memory, or make a tiled copy "
            "(gdal_translate -of COG)",
        )


def plan_memory(info: SourceInfo, grid: TileGrid, *, limit: int | None, free: int | None, triage: bool) -> MemoryPlan:
    """What a stream over `grid` takes, and what GDAL's cache may, together at most `limit` bytes.

    Without a limit it is half of what is `free`, but never less than the stream needs. Raises OptionError for a limit
    that is too low for a raster of this width.
    """
    stream, wanted = _stream_bytes(info, grid, triage=triage), _cache_bytes(info)
    least = stream + LEAST_CACHE
    if limit is None:
        limit = max(DEFAULT_LIMIT if free is None else free // 2, least)
    elif limit < least:
        raise OptionError(
            f"{info.path} is {info.shape[1]:,} pixels wide, which takes {_mb(least)} beside the model, and --memory "
            f"allows {_mb(limit)}: allow more, or cut the image into narrower parts"
        )
    return MemoryPlan(stream, min(wanted, limit - stream), wanted)


def _stream_bytes(info: SourceInfo, grid: TileGrid, *, triage: bool) -> int:
    width, tile = max(info.shape[1], grid.cols.tile), grid.rows.tile
    stride = tile - grid.rows.overlap
    rows = tile
    if triage:  # a row of looks ahead of those that decide
        looks = ScoutGrid.over(grid).looks.rows
        rows += 2 * looks.tile - looks.overlap
    strip = StripRows(info.block[0]).most
    read = min(rows + 2 * strip, info.shape[0] + strip) * BYTES_SEEN
    written = BLOCK_ROWS * BYTES_WRITTEN + BANDS_WAITING * stride
    return info.carried_bytes + width * (read + tile * BYTES_SUMMED + written)


def _cache_bytes(info: SourceInfo) -> int:
    """What keeps GDAL from decoding a block again: the blocks that lie in two strips."""
    return max(LEAST_CACHE, round(CACHE_SLACK * info.decoded_bytes))


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
