import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calanddet.runtime.blend import RULES, BlendRule
from calanddet.runtime.mosaic import Mosaic, twin
from calanddet.runtime.tiling import TileGrid

native = pytest.importorskip("calanddet.runtime._native", reason="the native extension is not built")

rules = st.sampled_from(sorted(RULES.values(), key=lambda rule: rule.name))


def stitch(
    image: NDArray[np.uint8], valid: NDArray[np.bool_], overlap: int, rule: BlendRule, seed: int
) -> NDArray[np.uint8]:
    """Cut `image` into 64-pixel tiles and blend them again, the tiles of each row in random order."""
    height, width = image.shape
    grid = TileGrid.cover((height, width), 64, overlap)
    bands: list[NDArray[np.uint8]] = []
    mosaic = Mosaic(grid, rule, lambda row, band: bands.append(band))
    padded = np.zeros((max(height, 64), max(width, 64)), np.uint8)
    padded[:height, :width] = image
    rng = np.random.default_rng(seed)
    for index, row in enumerate(grid.rows.origins):
        for col_index in rng.permutation(grid.cols.count):
            col = grid.cols.origin(int(col_index))
            mosaic.add(int(col_index), np.ascontiguousarray(padded[row : row + 64, col : col + 64]))
        mosaic.finish_row(valid[row : grid.rows.final_until(index)])
    return np.concatenate(bands)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 63), rules, st.integers(0, 2**31))
def test_tiles_of_an_image_blend_back_into_it(
    height: int, width: int, overlap: int, rule: BlendRule, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (height, width), dtype=np.uint8)
    valid = rng.random((height, width)) > 0.2
    np.testing.assert_array_equal(stitch(image, valid, overlap, rule, seed), np.where(valid, image, 255))


@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 32), st.integers(0, 49), st.integers(0, 2**31))
def test_native_accumulate_equals_its_twin(height: int, width: int, tile: int, col: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.integers(0, 2**24, (height, width), dtype=np.uint32)
    other = sums.copy()
    probability = rng.integers(0, 256, (tile, tile), dtype=np.uint8)
    row_weights, col_weights = rng.integers(0, 257, (2, tile), dtype=np.uint16)
    row_weights[rng.random(tile) < 0.3] = 0
    col = min(col, width - 1)
    native.accumulate(sums, probability, row_weights, col_weights, col)
    twin.accumulate(other, probability, row_weights, col_weights, col)
    np.testing.assert_array_equal(sums, other)


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**31))
def test_native_finalise_equals_its_twin(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.integers(0, 254 * 2**16 + 1, (height + 3, width), dtype=np.uint32)
    valid = rng.random((height, width)) > 0.3
    mine, other = np.empty((2, height, width), np.uint8)
    native.finalise(sums, valid, mine)
    twin.finalise(sums, valid, other)
    np.testing.assert_array_equal(mine, other)


def test_blending_rounds_to_the_nearest_byte() -> None:
    sums = np.array([[127 * 2**16 - 32769, 127 * 2**16 - 32768, 127 * 2**16 + 32767]], np.uint32)
    band = np.empty((1, 3), np.uint8)
    twin.finalise(sums, np.ones((1, 3), np.bool_), band)
    np.testing.assert_array_equal(band, [[126, 127, 127]])


def test_wrong_sizes_are_refused() -> None:
    grid = TileGrid.cover((70, 90), 64, 8)
    mosaic = Mosaic(grid, RULES["hann"], lambda row, band: None)
    with pytest.raises(ValueError, match="6 x 90"):
        mosaic.finish_row(np.ones((7, 90), np.bool_))
    weights = np.ones(8, np.uint16)
    with pytest.raises(ValueError, match="weights"):
        native.accumulate(np.zeros((9, 9), np.uint32), np.zeros((9, 9), np.uint8), weights, weights, 0)
