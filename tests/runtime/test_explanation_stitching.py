"""Maps of tiles joined to maps of images: against NumPy written out, on images that are not square."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from calanddet.runtime.blend import UNIT
from calanddet.runtime.errors import OptionError
from calanddet.runtime.explanation.canvas import Canvas, reduction_of
from calanddet.runtime.explanation.explainer import Layer, ModelFacts, TileMaps
from calanddet.runtime.explanation.stitching import PROBABILITY, Explanation, stitch
from calanddet.runtime.explanation.tiled import TiledImage, tiles_around
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.types import Bytes
from helpers.numbers import random_rgb

TILE = 32
SHAPES = [(32, 32), (75, 133), (20, 90), (90, 20), (11, 13), (33, 64)]
ECHO, NUMBER = Layer("echo", "red / 255", signed=False), Layer("number", "mean of red", signed=True)


def quiet(done: int, total: int) -> None:
    """No progress."""


class Echo:
    """Shows a tile's red channel pixel by pixel, and one number for all of it."""

    facts = ModelFacts("echo", "", "none")
    layers = (ECHO, NUMBER)
    notes: tuple[str, ...] = ()
    details: dict[str, object] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.batches: list[int] = []

    def look(self, tiles: Bytes) -> TileMaps:
        self.batches.append(len(tiles))
        red = tiles[..., 0].astype(np.float32)
        mean = red.mean((1, 2), keepdims=True) - 127
        return TileMaps(
            np.minimum(tiles[..., 0], 254),
            np.ones(len(tiles), np.float32),
            (red / np.float32(255), np.asarray(mean, np.float32)),
        )


def tiled(rgb: Bytes, *, valid: NDArray[np.bool_] | None = None, overlap: int = 9, blend: str = "hann") -> TiledImage:
    return TiledImage.cover(ArraySource(rgb, valid=valid), tile=TILE, overlap=overlap, blend=blend)


def looked(image: TiledImage, *, batch: int = 3) -> Explanation:
    return stitch(image, Echo(), batch=batch, progress=quiet)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("blend", ["hann", "crop", "cut"])
def test_what_every_tile_agrees_on_comes_back(shape: tuple[int, int], blend: str) -> None:
    rgb = random_rgb(1, *shape)
    found = looked(tiled(rgb, blend=blend))
    assert found.reduction == 1
    np.testing.assert_allclose(found.maps[ECHO], rgb[..., 0] / 255, atol=1e-6)
    np.testing.assert_allclose(found.maps[PROBABILITY], np.minimum(rgb[..., 0], 254) / 254, atol=1e-6)
    assert all(values.dtype == np.float32 and values.shape == shape for values in found.maps.values())


@pytest.mark.parametrize("shape", SHAPES)
def test_what_tiles_do_not_agree_on_is_blended_as_the_stream_does_it(shape: tuple[int, int]) -> None:
    rgb = random_rgb(2, *shape)
    image = tiled(rgb)
    padded = np.zeros((max(TILE, shape[0]), max(TILE, shape[1])))
    padded[: shape[0], : shape[1]] = rgb[..., 0]
    wanted, rows, cols = np.zeros(padded.shape), image.grid.rows, image.grid.cols
    down, across = image.rule.weights(rows) / UNIT, image.rule.weights(cols) / UNIT
    for (i, row), (j, col) in product(enumerate(rows.origins), enumerate(cols.origins)):
        place = np.s_[row : row + TILE, col : col + TILE]
        wanted[place] += np.outer(down[i], across[j]) * (padded[place].mean() - 127)
    np.testing.assert_allclose(looked(image).maps[NUMBER], wanted[: shape[0], : shape[1]], atol=1e-4)


def test_neither_the_batch_nor_a_second_time_changes_a_value() -> None:
    image = tiled(random_rgb(3, 75, 133))
    one, many = looked(image, batch=1), looked(image, batch=64)
    for layer in one.maps:
        assert np.array_equal(one.maps[layer], many.maps[layer])


def test_nodata_is_nan_and_its_tiles_are_not_looked_at() -> None:
    rgb, valid = random_rgb(4, 75, 133), np.ones((75, 133), np.bool_)
    valid[:, 50:] = False
    valid[10:14, 20:31] = False
    explainer = Echo()
    image = tiled(rgb, valid=valid)
    found = stitch(image, explainer, batch=2, progress=quiet)
    held = sum(any(valid[w.row : w.stop_row, w.col : w.stop_col].ravel()) for w in image.grid)
    assert sum(explainer.batches) == found.tiles == found.with_presence == held < len(image.grid)
    for values in found.maps.values():
        assert np.array_equal(np.isnan(values), ~valid)
    np.testing.assert_allclose(found.maps[ECHO][valid], rgb[..., 0][valid] / 255, atol=1e-6)


def test_progress_ends_with_all_tiles() -> None:
    told: list[tuple[int, int]] = []
    image = tiled(random_rgb(5, 75, 133))
    stitch(image, Echo(), batch=2, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (len(image.grid), len(image.grid))


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_a_canvas_averages_squares_of_valid_pixels(reduction: int) -> None:
    rng = np.random.default_rng(6)
    maps, valid = rng.normal(size=(2, 45, 59)).astype(np.float32), rng.random((45, 59)) < 0.6
    valid[16:32, 8:24] = False
    canvas = Canvas(2, (45, 59), reduction)
    for start, stop in ((0, 7), (7, 8), (8, 31), (31, 45)):
        canvas.add(start, maps[:, start:stop], valid[start:stop])
    wanted = np.full((2, -(-45 // reduction), -(-59 // reduction)), np.nan)
    for row, col in np.ndindex(*wanted.shape[1:]):
        square = np.s_[row * reduction : (row + 1) * reduction, col * reduction : (col + 1) * reduction]
        if valid[square].any():
            wanted[:, row, col] = [values[square][valid[square]].mean() for values in maps]
    np.testing.assert_allclose(canvas.means(), wanted, atol=1e-5)


def test_maps_are_as_fine_as_memory_allows() -> None:
    assert reduction_of((2048, 2048)) == 1
    assert reduction_of((2049, 2048)) == 2
    assert reduction_of((6144, 7680)) == 4
    for shape in ((3, 5), (100, 7), (31, 330)):
        side = reduction_of(shape, most=50)
        assert -(-shape[0] // side) * -(-shape[1] // side) <= 50
        assert side == 1 or -(-shape[0] * 2 // side) * -(-shape[1] * 2 // side) > 50


@pytest.mark.parametrize("shape", [(75, 133), (20, 90), (32, 32)])
@pytest.mark.parametrize("overlap", [0, 5, 8])
def test_the_tiles_on_a_pixel_are_those_of_the_whole_image(shape: tuple[int, int], overlap: int) -> None:
    rgb = random_rgb(7, *shape)
    whole = tiled(rgb, overlap=overlap)
    value_of_whole = looked(whole).maps[NUMBER]
    rng = np.random.default_rng(8)
    for row, col in zip(rng.integers(0, shape[0], 30), rng.integers(0, shape[1], 30), strict=True):
        part, window = tiles_around(whole.source, (row, col), tile=TILE, overlap=overlap)
        around = TiledImage.cover(part, tile=TILE, overlap=overlap, blend="hann")
        on_it = [w for w in whole.grid if w.row <= row < w.stop_row and w.col <= col < w.stop_col]
        assert [(w.row, w.col) for w in on_it] == [(w.row + window.row, w.col + window.col) for w in around.grid]
        cut = rgb[window.row : window.stop_row, window.col : window.stop_col]
        np.testing.assert_allclose(looked(around).maps[ECHO], cut[..., 0] / 255, atol=1e-6)
        # One pixel has one value, whether its tiles are looked at by themselves or in the whole.
        value = looked(around).maps[NUMBER][row - window.row, col - window.col]
        assert value == pytest.approx(value_of_whole[row, col], abs=1e-4)


@pytest.mark.parametrize("overlap", [9, 16, 20, 27, 31])
def test_where_more_than_two_tiles_share_a_pixel_they_move_by_one_at_most(overlap: int) -> None:
    whole = tiled(random_rgb(7, 75, 133), overlap=overlap)
    for row, col in zip(range(75), range(20, 95), strict=True):
        part, window = tiles_around(whole.source, (row, col), tile=TILE, overlap=overlap)
        around = TiledImage.cover(part, tile=TILE, overlap=overlap, blend="hann")
        for axis, place, first in ((whole.grid.rows, row, window.row), (whole.grid.cols, col, window.col)):
            wanted = [origin for origin in axis.origins if origin <= place < origin + TILE]
            found = around.grid.rows.origins if axis is whole.grid.rows else around.grid.cols.origins
            assert len(found) == len(wanted)
            assert max(abs(a + first - b) for a, b in zip(found, wanted, strict=True)) <= 1


def test_a_pixel_that_is_not_shown_is_refused() -> None:
    valid = np.ones((40, 50), np.bool_)
    valid[3, 4] = False
    source = ArraySource(random_rgb(9, 40, 50), valid=valid)
    for pixel in ((40, 0), (0, 50), (-1, 3)):
        with pytest.raises(OptionError, match=r"outside the image, whose last one is 39,49"):
            tiles_around(source, pixel, tile=TILE, overlap=9)
    with pytest.raises(OptionError, match="nodata"):
        tiles_around(source, (3, 4), tile=TILE, overlap=9)
