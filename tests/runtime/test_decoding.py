"""Each compressed block is decoded once, however a file is laid out, with no more cache than the plan asks for."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from calanddet.runtime.options import MapOptions
from calanddet.runtime.pipeline import memory
from calanddet.runtime.pipeline.memory import plan_memory
from calanddet.runtime.pipeline.stages import Stages
from calanddet.runtime.pipeline.strips import StripRows, Strips
from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.glimpse import GlimpsedSource
from calanddet.runtime.sources.protocol import Source
from calanddet.runtime.sources.raster import RasterSource
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Window
from helpers.decoded import bytes_read, fetches, open_counted
from helpers.numbers import random_rgb

SHAPE = (1500, 650)
PLACE = Affine(1.0, 0.0, 500.0, 0.0, -1.0, 900.0)
LEAST = 1 << 19
"""Bytes of cache, instead of 64 MB, so that a small raster does not fit into it."""

TILED: dict[str, Any] = {"tiled": True, "compress": "lzw", "interleave": "pixel"}
LAYOUTS = {
    "tiles": {**TILED, "blockxsize": 64, "blockysize": 64},
    "wide tiles": {**TILED, "blockxsize": 256, "blockysize": 32},
    "high tiles": {**TILED, "blockxsize": 48, "blockysize": 400},
    "tiles higher than a strip": {**TILED, "blockxsize": 112, "blockysize": 608},
    "planes": {**TILED, "blockxsize": 80, "blockysize": 144, "interleave": "band"},
    "rows": {"blockysize": 1, "compress": "lzw"},
    "strips": {"blockysize": 37, "compress": "lzw"},
    "strips higher than a strip": {"blockysize": 700, "compress": "lzw"},
    "one strip": {"blockysize": 1500, "compress": "lzw"},
    "jpeg": {**TILED, "blockxsize": 96, "blockysize": 240, "compress": "jpeg", "photometric": "ycbcr"},
}


@pytest.fixture(autouse=True)
def little_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEAST_CACHE", LEAST)


def write(path: Path, layout: dict[str, Any], *, mask: bool = False, seed: int = 3) -> Path:
    image = np.moveaxis(random_rgb(seed, *SHAPE), 2, 0)
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": 3, "dtype": "uint8"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile, **layout, crs="EPSG:32648", transform=PLACE) as file,
    ):
        file.write(image)
        if mask:
            file.write_mask(np.arange(SHAPE[1])[None, :] > np.arange(SHAPE[0])[:, None] - 900)
    return path


def cache_for(source: Source) -> int:
    grid = TileGrid.cover(source.info.shape, 224, 56)
    return plan_memory(source.info, grid, limit=10**9, free=None, triage=False).cache


def pass_over(source: Source) -> None:
    """Read all rows as a stream does, and then the picture."""
    grid, strips = TileGrid.cover(source.info.shape, 224, MapOptions().overlap), Strips(source, Stages())
    out = np.empty((224, 224, 3), np.uint8)
    for start in grid.rows.origins:
        strips.keep(start, start + 224)
        for col in grid.cols.origins:
            strips.copy(Window(start, col, 224, 224), out)
    source.thumbnail(200)


@pytest.mark.parametrize("mask", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_each_block_is_decoded_once(layout: dict[str, Any], tmp_path: Path, *, mask: bool) -> None:
    path = write(tmp_path / "area.tif", layout, mask=mask)
    dataset, reads = open_counted(path)
    with rasterio.Env(GDAL_CACHEMAX=LEAST), RasterSource(dataset, path) as source:
        reads.clear()
        with rasterio.Env(GDAL_CACHEMAX=cache_for(source)):
            pass_over(GlimpsedSource(source, 200))
        counts = fetches(dataset, reads)
    assert len(counts) == dataset_blocks(path)
    assert min(counts) >= 1, "the counter sees every block"
    assert np.mean(counts) <= 1.1


def dataset_blocks(path: Path) -> int:
    with rasterio.open(path) as dataset:
        rows, cols = dataset.block_shapes[0]
        bands = 3 if dataset.profile["interleave"] == "band" else 1
        return -(-int(dataset.height) // int(rows)) * -(-int(dataset.width) // int(cols)) * bands


def test_without_the_planned_cache_high_blocks_are_decoded_again(tmp_path: Path) -> None:
    """So that the test above could fail."""
    path = write(tmp_path / "area.tif", LAYOUTS["tiles higher than a strip"])
    dataset, reads = open_counted(path)
    with rasterio.Env(GDAL_CACHEMAX=LEAST), RasterSource(dataset, path) as source:
        assert cache_for(source) > 2 * LEAST
        reads.clear()
        pass_over(GlimpsedSource(source, 200))
        assert np.mean(fetches(dataset, reads)) > 1.5


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts what the process reads in /proc")
def test_blocks_of_a_mosaic_s_parts_are_decoded_once(tmp_path: Path) -> None:
    """Their borders lie anywhere in the mosaic."""
    layout = {**TILED, "blockxsize": 128, "blockysize": 256}
    parts = [write(tmp_path / f"part{index}.tif", layout, seed=index) for index in range(4)]
    path = tmp_path / "mosaic.vrt"
    path.write_text(mosaic(parts), encoding="utf-8")
    with rasterio.Env(GDAL_CACHEMAX=LEAST), open_source(path) as source:
        begun = bytes_read()
        with rasterio.Env(GDAL_CACHEMAX=cache_for(source)):
            pass_over(GlimpsedSource(source, 200))
        read = bytes_read() - begun
    stored = sum(part.stat().st_size for part in parts)
    assert 0.95 * stored < read < 1.1 * stored


def mosaic(parts: list[Path]) -> str:
    """A VRT with two rows of two parts, the second ones 77 and 33 pixels off where blocks would end."""
    rows, cols = SHAPE
    places = [(part, (rows + 77) * (n // 2), (cols + 33) * (n % 2)) for n, part in enumerate(parts)]
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>0</NoDataValue>'
        + "".join(
            f"<SimpleSource><SourceFilename>{part}</SourceFilename><SourceBand>{band}</SourceBand>"
            f'<SourceProperties RasterXSize="{cols}" RasterYSize="{rows}" DataType="Byte" BlockXSize="128" '
            f'BlockYSize="256"/><SrcRect xOff="0" yOff="0" xSize="{cols}" ySize="{rows}"/>'
            f'<DstRect xOff="{col}" yOff="{row}" xSize="{cols}" ySize="{rows}"/></SimpleSource>'
            for part, row, col in places
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    size = f'rasterXSize="{2 * cols + 33}" rasterYSize="{2 * rows + 77}"'
    return f"<VRTDataset {size}><SRS>EPSG:32648</SRS><GeoTransform>500,1,0,900,0,-1</GeoTransform>{bands}</VRTDataset>"


@pytest.mark.parametrize("block", [1, 16, 37, 128, 200, 512, 513, 608, 1024, 1500, 4096])
def test_strips_are_neither_thin_nor_thick_and_end_where_blocks_do(block: int) -> None:
    rows = StripRows(block)
    borders = [0]
    while borders[-1] < 9000:
        borders.append(rows.after(borders[-1]))
    heights = np.diff(borders)
    assert heights.max() == rows.most <= 512
    assert heights.min() >= 128 or block > 512
    ends = set(borders)
    if block >= 128:
        assert set(range(0, 9000, block)) <= ends
    else:
        assert all(border % block == 0 for border in borders)
    for row in (0, 1, borders[3] - 1, borders[3], borders[3] + 1):
        at = rows.at_or_above(row)
        assert at in ends
        assert at <= row < rows.after(at)
