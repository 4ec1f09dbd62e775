"""Resampling while reading: the values against NumPy and GDAL, the grid against the ground, each block decoded once."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.georef import Georeference, ScaledGeoreference
from calanddet.runtime.gsd import factors_to, ground_size, pixel_size
from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.sources.resampled import ResampledSource, at_gsd
from calanddet.runtime.types import Bool, Bytes, Pixels, Window
from helpers.counting import CountingSource, EmptySource, most_memory
from helpers.numbers import random_rgb
from helpers.rasters import BLOCKS, COLS, GRID, ROWS, colours, holes, write

FACTORS = [(2, 1), (1, 1), (3, 1), (5, 2), (7, 3), (1, 2), (2, 3), (1, 1)]


def fraction(index: int) -> Fraction:
    return Fraction(*FACTORS[index])


def scaled(grid: Affine, factor: float) -> Affine:
    """A grid with the same corner and pixels `factor` times as large."""
    return Affine(grid.a * factor, grid.b * factor, grid.c, grid.d * factor, grid.e * factor, grid.f)


def whole(source: ResampledSource) -> Pixels:
    return source.read(Window(0, 0, *source.info.shape))


def weights(factor: Fraction, count: int, length: int) -> NDArray[np.float64]:
    """(count, length): the share of each input pixel in each output one, from the definition, in floats."""
    found = np.zeros((count, length))
    for out in range(count):
        if factor >= 1:
            low, high = float(out * factor), float((out + 1) * factor)
            for at in range(length):
                found[out, at] = max(0.0, min(high, at + 1) - max(low, at)) / float(factor)
        else:
            centre = (out + 0.5) * float(factor) - 0.5
            first, share = int(np.floor(centre)), centre - np.floor(centre)
            for at, weight in ((first, 1 - share), (first + 1, share)):
                found[out, min(max(at, 0), length - 1)] += weight
    return found


def defined(rgb: Bytes, valid: Bool, factors: tuple[Fraction, Fraction], shape: tuple[int, int]) -> tuple[object, Bool]:
    """What a resampled raster is by its definition: colours in floats, and validity."""
    down, across = (weights(f, n, s) for f, n, s in zip(factors, shape, valid.shape, strict=True))
    share = down @ valid @ across.T
    colour = np.stack([down @ (rgb[..., n] * valid) @ across.T for n in range(3)], axis=2)
    return colour / np.maximum(share, 1e-9)[..., None], np.asarray(share >= 0.5 - 1e-12)


@pytest.mark.parametrize("down", range(len(FACTORS)))
@pytest.mark.parametrize("across", [0, 1, 3, 5, 6])
def test_values_are_those_of_the_definition(down: int, across: int) -> None:
    rgb, valid = random_rgb(down, 41, 59), np.random.default_rng(across).random((41, 59)) < 0.8
    factors = fraction(down), fraction(across)
    source = ResampledSource(ArraySource(rgb, valid=valid), factors)
    pixels = whole(source)
    colour, shown = defined(rgb, valid, factors, source.info.shape)
    np.testing.assert_array_equal(pixels.valid, shown)
    assert np.abs(pixels.rgb.astype(float) - colour)[shown].max() <= 0.5 + 1e-9
    assert not pixels.rgb[~shown].any()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_window_is_a_part_of_the_whole(data: st.DataObject) -> None:
    factors = fraction(data.draw(st.integers(0, 7))), fraction(data.draw(st.integers(0, 7)))
    source = ResampledSource(ArraySource(random_rgb(5, 47, 61), valid=random_rgb(6, 47, 61)[..., 0] > 60), factors)
    all_of_it, (rows, cols) = whole(source), source.info.shape
    for _ in range(3):  # windows in any order, also after what was kept for others
        row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
        height, width = data.draw(st.integers(1, rows - row)), data.draw(st.integers(1, cols - col))
        part = source.read(Window(row, col, height, width))
        here = np.s_[row : row + height, col : col + width]
        np.testing.assert_array_equal(part.rgb, all_of_it.rgb[here])
        np.testing.assert_array_equal(part.valid, all_of_it.valid[here])


def test_beyond_the_raster_is_nothing() -> None:
    source = ResampledSource(ArraySource(random_rgb(1, 40, 60)), (Fraction(2), Fraction(2)))
    pixels = source.read(Window(-3, -5, 30, 50))
    assert pixels.valid.sum() == 20 * 30
    assert pixels.valid[3:23, 5:35].all()
    assert not source.read(Window(20, 30, 4, 4)).valid.any()


@pytest.mark.parametrize(("size", "method"), [(0.5, Resampling.average), (0.125, Resampling.bilinear)])
def test_gdal_s_warper_says_the_same(tmp_path: Path, size: float, method: Resampling) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS + 1, COLS + 1))
    with open_source(path) as opened, rasterio.open(path) as dataset:
        pixels = at_gsd(opened, size).read(
            Window(0, 0, round((ROWS + 1) * 0.25 / size), round((COLS + 1) * 0.25 / size))
        )
        height, width = pixels.valid.shape
        grid = scaled(GRID, size / 0.25)
        with WarpedVRT(
            dataset, transform=grid, height=height, width=width, crs=dataset.crs, resampling=method
        ) as warped:
            expected = warped.read().transpose(1, 2, 0).astype(float)
    assert np.abs(pixels.rgb - expected)[1:-1, 1:-1].max() <= 1  # GDAL rounds in its own way


def test_pixels_get_the_size_that_was_asked_for(tmp_path: Path) -> None:
    with open_source(write(tmp_path / "area.tif", colours(ROWS, COLS), mask=holes())) as opened:
        source = at_gsd(opened, 0.5)
        info = source.info
    assert info.shape == (38, 56)
    assert info.gsd_m == pytest.approx(0.5, rel=2e-3)
    assert info.georeference.transform == scaled(GRID, 2)
    assert "2 to 1 across and 2 to 1 down; all outputs are on this grid" in info.notes[-1]
    assert "113 x 75 pixels of 0.25 m" in info.notes[-1]


def test_degrees_become_squares_on_the_ground(tmp_path: Path) -> None:
    grid = Affine(2e-6, 0, 103.5, 0, -2e-6, 60.0)
    path = write(tmp_path / "area.tif", colours(90, 160), crs="EPSG:4326", transform=grid)
    with open_source(path) as opened:
        before = pixel_size(opened.info.georeference, opened.info.shape)
        info = at_gsd(opened, 0.5).info
    after = pixel_size(info.georeference, info.shape)
    assert before is not None
    assert before[0] / before[1] == pytest.approx(2.0, rel=0.01)
    assert after == pytest.approx((0.5, 0.5), rel=2e-3)


def test_what_has_the_size_already_is_left_alone(tmp_path: Path) -> None:
    with open_source(write(tmp_path / "area.tif", colours(ROWS, COLS))) as opened:
        assert at_gsd(opened, 0.25) is opened


def test_the_ground_below_does_not_move() -> None:
    rng = np.random.default_rng(0)
    turned = Georeference(None, Affine(0.38, 0.1, 4e5, 0.13, -0.28, 3e6))
    coarse = ScaledGeoreference.of(turned, (Fraction(5, 2), Fraction(2, 3)))
    rows, cols = rng.uniform(0, 90, 20), rng.uniform(0, 70, 20)
    expected = turned.ground(rows * 5 / 2, cols * 2 / 3)
    np.testing.assert_allclose(coarse.ground(rows, cols), expected)
    np.testing.assert_allclose(Georeference(None, coarse.transform).ground(rows, cols), expected)
    np.testing.assert_allclose(coarse.pixels(*expected), (rows, cols), atol=1e-6)


def test_ground_control_points_go_along(tmp_path: Path) -> None:
    points = [
        rasterio.control.GroundControlPoint(row, col, 500000 + 0.25 * col, 3e6 - 0.25 * row)
        for row in (0, 40, 75)
        for col in (0, 60, 113)
    ]
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), gcps=points, transform=None)
    with open_source(path) as opened:
        info = at_gsd(opened, 0.75).info
    assert ground_size(info.georeference, info.shape) == pytest.approx(0.75, rel=5e-3)
    x, y = info.georeference.ground([10.0], [20.0])
    assert (x[0], y[0]) == pytest.approx((500015.0, 2999992.5), abs=0.05)
    rows, cols = info.georeference.pixels(x, y)
    assert (rows[0], cols[0]) == pytest.approx((10.0, 20.0), abs=0.01)


@pytest.mark.parametrize("factor", [Fraction(2), Fraction(5, 2), Fraction(7, 3), Fraction(2, 3)])
@pytest.mark.parametrize("block", [(64, 96), (7, 300), (1, 300)])
def test_strips_decode_each_block_once(factor: Fraction, block: tuple[int, int]) -> None:
    array = ArraySource(random_rgb(2, 500, 300))
    object.__setattr__(array.info, "block", block)
    counting = CountingSource(array)
    source = ResampledSource(counting, (factor, factor))
    rows, cols = source.info.shape
    for row in range(0, rows, 50):
        source.read(Window(row, 0, min(50, rows - row), cols))
    assert counting.blocks.min() == counting.blocks.max() == 1


@pytest.mark.parametrize("factor", [Fraction(2), Fraction(32), Fraction(2, 3)])
def test_memory_does_not_grow_with_the_height(factor: Fraction) -> None:
    low, high = (ResampledSource(EmptySource((rows, 700), (128, 128)), (factor, factor)) for rows in (1500, 6000))
    assert most_memory(high, 128) < 1.1 * most_memory(low, 128)


def test_a_thumbnail_has_the_grid_s_proportions() -> None:
    source = ResampledSource(ArraySource(random_rgb(1, 400, 300)), (Fraction(4), Fraction(1)))
    assert source.info.shape == (100, 300)
    assert source.thumbnail(60).valid.shape == (20, 60)
    with pytest.raises(OptionError, match="positive size"):
        source.thumbnail(0)


def test_what_has_no_ground_size_cannot_be_resampled(tmp_path: Path) -> None:
    with (
        open_source(write(tmp_path / "area.tif", colours(ROWS, COLS), crs=None)) as source,
        pytest.raises(InputError, match=r"area\.tif cannot be resampled to 0\.5 m: .* has no CRS"),
    ):
        at_gsd(source, 0.5)


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_no_size_is_refused(size: float) -> None:
    with pytest.raises(OptionError, match="positive number of metres"):
        factors_to(size, (1.0, 1.0))


@pytest.mark.parametrize("size", [50.0, 0.001])
def test_a_size_out_of_all_proportion_is_refused(tmp_path: Path, size: float) -> None:
    with (
        open_source(write(tmp_path / "area.tif", colours(ROWS, COLS), **BLOCKS)) as source,
        pytest.raises(InputError, match=r"area\.tif: its pixels are 0\.25 m and cannot become"),
    ):
        at_gsd(source, size)


def test_ratios_are_simple() -> None:
    assert factors_to(0.5, (0.2501, 0.2499)) == (Fraction(2), Fraction(2))
    assert factors_to(0.3, (0.2, 0.1)) == (Fraction(3, 2), Fraction(3))
    for ratio in np.random.default_rng(3).uniform(0.07, 60, 200):
        down, _ = factors_to(float(ratio), (1.0, 1.0))
        assert abs(float(down) / ratio - 1) <= 0.002
        assert down.denominator < 400
