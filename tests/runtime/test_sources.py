"""Reading: windows, masks and bands of every kind of raster against what rasterio says of the same file."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.sources import open_source
from calanddet.runtime.types import Pixels, Window
from helpers.rasters import (
    BLOCKS,
    COLS,
    RGB,
    ROWS,
    assert_same,
    colours,
    holes,
    masked,
    plain,
    vrt,
    vrt_band,
    whole,
    write,
)


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {**BLOCKS, "compress": "deflate"},
        {"interleave": "pixel", "compress": "lzw"},
        {"interleave": "band", "blockysize": 7},
        {**BLOCKS, "interleave": "pixel", "compress": "jpeg", "photometric": "ycbcr"},
        {**BLOCKS, "interleave": "pixel", "compress": "webp"},
        {"driver": "PNG"},
        {"driver": "JPEG"},
        {"driver": "BMP"},
    ],
    ids=str,
)
def test_bytes_pass_untouched(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = write(tmp_path / "area", colours(ROWS, COLS), **layout)
    planes, _ = plain(path)
    assert_same(whole(path), planes.transpose(1, 2, 0), np.ones((ROWS, COLS), np.bool_))


@pytest.mark.parametrize("internal", [True, False])
@pytest.mark.parametrize("compress", ["jpeg", "deflate"])
def test_masks_in_and_beside_the_file(tmp_path: Path, internal: bool, compress: str) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        path = write(tmp_path / "area.tif", colours(ROWS, COLS), mask=holes(), compress=compress, **BLOCKS)
    assert path.with_name("area.tif.msk").exists() != internal
    planes, valid = plain(path)
    assert np.array_equal(valid, holes())
    assert_same(whole(path), masked(planes, valid), valid)


@pytest.mark.parametrize("nodata", [0, 255, 17])
def test_nodata_means_all_three_bands(tmp_path: Path, nodata: int) -> None:
    planes = colours(ROWS, COLS)
    planes[:, ~holes()] = nodata
    planes[0, 20, 30] = planes[2, 21, 30] = nodata
    path = write(tmp_path / "area.tif", planes, nodata=nodata)
    planes, valid = plain(path)
    pixels = whole(path)
    assert_same(pixels, masked(planes, valid), valid)
    assert pixels.valid[20, 30]
    assert pixels.rgb[20, 30, 0] == nodata


def test_nodata_that_no_byte_can_hold_is_no_nodata(tmp_path: Path) -> None:
    raster = write(tmp_path / "area.tif", colours(ROWS, COLS))
    nodata = "<NoDataValue>-9999</NoDataValue>"
    path = vrt(tmp_path / "area.vrt", [vrt_band(band, raster, band, inner=nodata) for band in (1, 2, 3)])
    assert whole(path).valid.all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_zero_is_not_valid(tmp_path: Path, dtype: str) -> None:
    planes = np.concatenate([colours(ROWS, COLS), np.where(holes(), 255, 0)[None]]).astype(dtype)
    planes[3, 30, 30] = 1
    path = write(tmp_path / "area.tif", planes, interpretation=(*RGB, ColorInterp.alpha))
    with open_source(path) as source:
        pixels = source.read(Window(0, 0, ROWS, COLS))
        stretch = source.info.stretch
    expected = planes[:3] if stretch is None else stretch.apply(planes[:3])
    assert (stretch is None) == (dtype == "uint8")
    assert_same(pixels, masked(expected.astype(np.uint8), holes()), holes())


def test_alpha_counts_beside_nodata(tmp_path: Path) -> None:
    planes = np.concatenate([colours(ROWS, COLS), np.where(holes(), 255, 0)[None]]).astype(np.uint8)
    planes[:3, 60, 100] = 17
    path = write(tmp_path / "area.tif", planes, interpretation=(*RGB, ColorInterp.alpha), nodata=17)
    valid = holes()
    valid[60, 100] = False
    assert_same(whole(path), masked(planes[:3], valid), valid)


def test_a_stored_mask_overrules_nodata(tmp_path: Path) -> None:
    planes = colours(ROWS, COLS)
    planes[:, 20:30, 30:40] = 0
    path = write(tmp_path / "area.tif", planes, mask=holes(), nodata=0)
    assert_same(whole(path), masked(planes, holes()), holes())


def test_alpha_of_another_type_counts(tmp_path: Path) -> None:
    planes = colours(ROWS, COLS).astype(np.uint16) * 9
    wide = write(tmp_path / "wide.tif", planes)
    alpha = write(tmp_path / "alpha.tif", np.where(holes(), 255, 0).astype(np.uint8)[None])
    bands = [vrt_band(band, wide, band, "UInt16") for band in (1, 2, 3)]
    path = vrt(tmp_path / "area.vrt", [*bands, vrt_band(4, alpha, 1, inner="<ColorInterp>Alpha</ColorInterp>")])
    pixels = whole(path)
    assert np.array_equal(pixels.valid, holes())
    assert not pixels.rgb[~holes()].any()


def test_masks_of_single_bands_fail_a_pixel_together(tmp_path: Path) -> None:
    image = write(tmp_path / "image.tif", colours(ROWS, COLS))
    masks = np.random.default_rng(0).choice([0, 255], (3, ROWS, COLS)).astype(np.uint8)
    stored = write(tmp_path / "masks.tif", masks)
    bands = []
    for band in (1, 2, 3):
        mask = vrt_band(0, stored, band).replace('band="0"', "")
        bands.append(vrt_band(band, image, band, inner=f"<MaskBand>{mask}</MaskBand>"))
    path = vrt(tmp_path / "area.vrt", bands)
    planes, valid = plain(path)
    assert np.array_equal(valid, masks.any(axis=0))
    assert_same(whole(path), masked(planes, valid), valid)


def test_windows_beyond_the_raster_are_black_and_not_valid(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), mask=holes(), **BLOCKS)
    planes, valid = plain(path)
    margin = 40
    rgb = np.pad(masked(planes, valid), ((margin, margin), (margin, margin), (0, 0)))
    valid = np.pad(valid, margin)
    with open_source(path) as source:

        @given(st.integers(-40, ROWS + 20), st.integers(-40, COLS + 20), st.integers(1, 60), st.integers(1, 60))
        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        def compare(row: int, col: int, height: int, width: int) -> None:
            height, width = min(height, ROWS + margin - row), min(width, COLS + margin - col)
            here = np.s_[row + margin : row + margin + height, col + margin : col + margin + width]
            assert_same(source.read(Window(row, col, height, width)), rgb[here], valid[here])

        compare()
        assert not source.read(Window(-10, 5, 10, 7)).valid.any()
        assert not source.read(Window(ROWS, COLS, 3, 4)).rgb.any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_strips_put_together_are_the_whole(tmp_path: Path, dtype: str) -> None:
    planes = colours(ROWS, COLS).astype(dtype)
    planes[:, ~holes()] = 0
    path = write(tmp_path / "area.tif", planes, nodata=0, **BLOCKS)
    with open_source(path) as source:
        strips = [source.read(Window(row, 0, min(16, ROWS - row), COLS)) for row in range(0, ROWS, 16)]
        all_of_it = source.read(Window(0, 0, ROWS, COLS))
    # Strips are compared after all were read: none may share memory with a later one.
    assert_same(all_of_it, np.concatenate([s.rgb for s in strips]), np.concatenate([s.valid for s in strips]))


def test_colours_are_found_by_their_interpretation(tmp_path: Path) -> None:
    planes = colours(ROWS, COLS, bands=4)
    kinds = (ColorInterp.blue, ColorInterp.undefined, ColorInterp.green, ColorInterp.red)
    path = write(tmp_path / "area.tif", planes, interpretation=kinds)
    assert np.array_equal(whole(path).rgb, planes[[3, 2, 0]].transpose(1, 2, 0))
    with open_source(path) as source:
        assert source.info.bands == (4, 3, 1)


def test_colours_are_found_by_their_names(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS, bands=4), photometric="minisblack")
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("Blue", "Green", "Red", "NIR")
    with open_source(path) as source:
        assert source.info.bands == (3, 2, 1)
        assert not any("bands" in note for note in source.info.notes)


def test_inks_are_read_as_gdal_converts_them(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS, bands=4), photometric="cmyk")
    planes, valid = plain(path)
    assert_same(whole(path), masked(planes, valid), valid)


def test_nameless_bands_are_taken_in_order_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS, bands=5), photometric="minisblack")
    with open_source(path) as source:
        assert source.info.bands == (1, 2, 3)
        assert any("which of its 5 bands are red, green and blue" in note for note in source.info.notes)


def test_bands_can_be_chosen(tmp_path: Path) -> None:
    planes = colours(ROWS, COLS, bands=5)
    path = write(tmp_path / "area.tif", planes, photometric="minisblack")
    assert np.array_equal(whole(path, (5, 1, 1)).rgb, planes[[4, 0, 0]].transpose(1, 2, 0))
    gray = write(tmp_path / "gray.tif", planes[:1])
    assert np.array_equal(whole(gray, (1, 1, 1)).rgb, planes[[0, 0, 0]].transpose(1, 2, 0))


@pytest.mark.parametrize("bands", [(1, 2), (1, 2, 6), (0, 1, 2), (1, 2, 3, 4), ()])
def test_bands_that_do_not_exist_are_refused(tmp_path: Path, bands: tuple[int, ...]) -> None:
    path = write(tmp_path / "area.tif", colours(11, 13, bands=5), photometric="minisblack")
    with pytest.raises(OptionError, match="three numbers from 1 to 5"):
        open_source(path, bands=bands)


def test_closing_twice_is_allowed_and_reading_after_is_not(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "area.tif", colours(5, 7)))
    source.close()
    source.close()
    assert source.info.shape == (5, 7)
    with pytest.raises(InputError, match="has been closed"):
        source.read(Window(0, 0, 5, 7))
    with pytest.raises(InputError, match="has been closed"):
        source.thumbnail(3)


def test_facts(tmp_path: Path) -> None:
    path = write(tmp_path / "my.area.tif", colours(ROWS, COLS), **BLOCKS)
    with open_source(str(path)) as source:
        info = source.info
    assert (info.path, info.name) == (str(path), "my.area")
    assert (info.shape, info.block, info.dtype, info.bands) == ((ROWS, COLS), (16, 32), "uint8", (1, 2, 3))
    assert info.stretch is None


def test_another_thread_reads_the_same_without_noise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), mask=holes())
    results: list[Pixels | InputError] = []
    broken = tmp_path / "broken.tif"
    broken.write_bytes(path.read_bytes()[:-9000])

    with open_source(path) as source, open_source(broken) as short:

        def work() -> None:
            results.append(source.read(Window(0, 0, ROWS, COLS)))
            try:
                short.read(Window(0, 0, ROWS, COLS))
            except InputError as error:
                results.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        expected = source.read(Window(0, 0, ROWS, COLS))
    good, bad = results
    assert isinstance(good, Pixels)
    assert isinstance(bad, InputError)
    assert_same(good, expected.rgb, expected.valid)
    assert capfd.readouterr().err == ""
