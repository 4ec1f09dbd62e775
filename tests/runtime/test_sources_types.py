"""Reading values that are not colours yet: wide integers, floats, colour tables."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from calanddet.runtime.sources import open_source
from calanddet.runtime.stretch import Stretch
from calanddet.runtime.types import Window
from helpers.rasters import BLOCKS, COLS, ROWS, assert_same, colours, holes, masked, plain, vrt, vrt_band, whole, write


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_other_types_get_one_stretch_for_the_whole_raster(tmp_path: Path, dtype: str) -> None:
    planes = (colours(ROWS, COLS).astype(np.float64) / 4).astype(dtype)
    planes[:, ~holes()] = -100 if np.dtype(dtype).kind != "u" else 200
    path = write(tmp_path / "area.tif", planes, nodata=planes[0, 0, -1].item())
    with open_source(path) as source:
        stretch = source.info.stretch
        pixels, part = source.read(Window(0, 0, ROWS, COLS)), source.read(Window(33, 41, 17, 29))
    low, high = np.percentile(planes[:, holes()].astype(np.float64), (2, 98))
    assert stretch == Stretch(low, high)
    level = (planes.astype(np.float64) - low) / (high - low) * 255
    expected = masked(np.clip(np.floor(level + 0.5), 0, 255).astype(np.uint8), holes())
    assert np.array_equal(pixels.valid, holes())
    assert np.abs(pixels.rgb.astype(int) - expected).max() <= 1
    assert np.mean(pixels.rgb != expected) < 0.001
    assert_same(part, pixels.rgb[33:50, 41:70], pixels.valid[33:50, 41:70])


@pytest.mark.parametrize("shape", [(75, 113), (1100, 90)])
def test_a_stretch_is_of_all_the_raster_where_nothing_is_masked(tmp_path: Path, shape: tuple[int, int]) -> None:
    planes = colours(*shape).astype(np.uint16) * 11
    with open_source(write(tmp_path / "area.tif", planes)) as source:
        stretch = source.info.stretch
    assert stretch is not None
    low, high = np.percentile(planes, (2, 98))
    # Up to 1024 pixels a side the sample is the raster; beyond, it is spread evenly over it.
    slack = 0 if max(shape) <= 1024 else 25
    assert abs(stretch.low - low) <= slack
    assert abs(stretch.high - high) <= slack


@pytest.mark.parametrize("nodata", [np.nan, None, -9999.0])
def test_a_pixel_with_a_nan_is_not_valid(tmp_path: Path, nodata: float | None) -> None:
    planes = colours(ROWS, COLS).astype(np.float32)
    planes[:, ~holes()] = np.nan
    planes[1, 30, 30], planes[2, 31, 30] = np.nan, np.inf
    path = write(tmp_path / "area.tif", planes, nodata=nodata)
    valid = holes()
    valid[30:32, 30] = False
    pixels = whole(path)
    assert np.array_equal(pixels.valid, valid)
    assert not pixels.rgb[~valid].any()


@pytest.mark.parametrize(
    ("stored", "said"),
    [(-3.4028235e38, "-3.40282346e+38"), (-3.4028235e38, "-3.4e+38"), (3.4e38, "3.3e+38"), (-9999.1, "-9999.1")],
)
def test_float_nodata_written_in_decimals_still_counts(tmp_path: Path, stored: float, said: str) -> None:
    planes = colours(ROWS, COLS).astype(np.float32)
    planes[:, ~holes()] = stored
    planes[:, 40, 40] = np.nextafter(np.float32(stored), np.float32(0))
    planes[:, 41, 40] = np.float32(stored) / 1e9
    raster = write(tmp_path / "area.tif", planes)
    nodata = f"<NoDataValue>{said}</NoDataValue>"
    bands = [vrt_band(band, raster, band, "Float32", nodata) for band in (1, 2, 3)]
    virtual = vrt(tmp_path / "area.vrt", bands)
    _, valid = plain(virtual)
    assert not valid[40, 40]
    assert valid[41, 40]
    assert np.array_equal(whole(virtual).valid, valid)


def test_a_stretch_leaves_out_a_band_s_own_nodata(tmp_path: Path) -> None:
    planes = (colours(ROWS, COLS).astype(np.int16) + 1000).astype(np.int16)
    planes[0, ::3] = -30000
    with open_source(write(tmp_path / "area.tif", planes, nodata=-30000)) as source:
        assert source.info.stretch is not None
        assert source.info.stretch.low >= 1000
        assert source.read(Window(0, 0, ROWS, COLS)).valid.all()


def test_overviews_do_not_change_the_stretch(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(1100, 1300).astype(np.uint16) * 9, **BLOCKS)
    with open_source(path) as source:
        before = source.info.stretch
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    with open_source(path) as source:
        assert source.info.stretch == before


def test_a_sparse_raster_is_looked_at_coarsely(tmp_path: Path) -> None:
    planes = np.zeros((3, 2500, 1700), np.uint16)
    planes[:, 100:150, 70:106] = colours(50, 36).astype(np.uint16) + 5000
    path = write(tmp_path / "area.tif", planes, nodata=0, compress="lzw")
    with open_source(path) as source:
        stretch = source.info.stretch
    assert stretch is not None
    assert 5000 <= stretch.low < stretch.high <= 5256


def test_a_raster_without_a_valid_pixel_is_read_as_such(tmp_path: Path) -> None:
    with open_source(write(tmp_path / "area.tif", np.zeros((3, 21, 33), np.float32), nodata=0)) as source:
        assert not source.read(Window(0, 0, 21, 33)).valid.any()
        assert any("no valid pixel" in note for note in source.info.notes)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_palettes_become_their_colours(tmp_path: Path, dtype: str) -> None:
    index = np.random.default_rng(0).integers(0, 6, (1, ROWS, COLS)).astype(dtype)
    table = {0: (0, 0, 0, 0), 1: (255, 0, 9, 255), 2: (1, 2, 3, 255), 3: (4, 4, 4, 255), 4: (7, 8, 9, 255)}
    path = tmp_path / "area.tif"
    write(path, index, photometric="palette", nodata=4)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, table)
    with rasterio.open(path) as dataset:
        entries = dataset.colormap(1)
    # TIFF has no alpha in its table; GDAL makes the nodata entry the transparent one.
    valid = index[0] != 4
    expected = np.array([entries[value][:3] for value in range(6)], np.uint8)[index[0]]
    assert_same(whole(path), np.where(valid[..., None], expected, 0).astype(np.uint8), valid)
    with open_source(path) as source:
        assert source.info.bands == (1, 1, 1)
        assert source.info.stretch is None


def test_transparent_and_missing_palette_entries_are_not_valid(tmp_path: Path) -> None:
    index = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    write(tmp_path / "index.tif", index)
    entries = "".join(f'<Entry c1="{n}" c2="{n + 50}" c3="9" c4="{255 if n != 2 else 0}"/>' for n in range(5))
    virtual = tmp_path / "area.vrt"
    virtual.write_text(
        '<VRTDataset rasterXSize="3" rasterYSize="2"><VRTRasterBand dataType="Byte" band="1">'
        f"<ColorInterp>Palette</ColorInterp><ColorTable>{entries}</ColorTable><SimpleSource>"
        '<SourceFilename relativeToVRT="1">index.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    pixels = whole(virtual)
    assert pixels.valid.tolist() == [[True, True, False], [True, True, False]]
    assert pixels.rgb.tolist() == [[[0, 50, 9], [1, 51, 9], [0, 0, 0]], [[3, 53, 9], [4, 54, 9], [0, 0, 0]]]
