"""The small picture that is taken in passing: of the definition, of any order of windows, and without a second look."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.sources.glimpse import GlimpsedSource, glimpsed
from calanddet.runtime.types import Pixels, Window
from helpers.counting import CountingSource
from helpers.numbers import random_rgb
from helpers.rasters import colours, write

SHAPE = (131, 97)


def source(seed: int = 0) -> CountingSource:
    array = ArraySource(random_rgb(seed, *SHAPE), valid=random_rgb(seed + 9, *SHAPE)[..., 0] > 90)
    array.info = replace(array.info, block=(16, 24))
    return CountingSource(array)


def defined(longest: int) -> Pixels:
    """The picture from its definition: the mean of the valid ones among four pixels, or one pixel."""
    pixels = source().read(Window(0, 0, *SHAPE))
    scale = min(1.0, longest / max(SHAPE))
    height, width = (max(1, round(side * scale)) for side in SHAPE)
    fold = 2 if SHAPE[0] >= 2 * height and SHAPE[1] >= 2 * width else 1
    rgb, valid = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.bool_)
    for row in range(height):
        for col in range(width):
            at = np.ix_(
                [int((row * fold + n + 0.5) * SHAPE[0] / (height * fold)) for n in range(fold)],
                [int((col * fold + n + 0.5) * SHAPE[1] / (width * fold)) for n in range(fold)],
            )
            known = pixels.valid[at]
            valid[row, col] = known.sum() * 2 >= fold**2
            if valid[row, col]:
                rgb[row, col] = np.floor(pixels.rgb[at][known].mean(axis=0) + 0.5)
    return Pixels(rgb, valid)


@pytest.mark.parametrize("longest", [1, 10, 40, 65, 66, 100, 131, 500])
def test_it_is_that_of_the_definition(longest: int) -> None:
    small, expected = GlimpsedSource(source(), longest).thumbnail(longest), defined(longest)
    np.testing.assert_array_equal(small.valid, expected.valid)
    np.testing.assert_array_equal(small.rgb, expected.rgb)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_windows_give_the_same(data: st.DataObject) -> None:
    longest = data.draw(st.sampled_from([17, 50, 64, 90]))
    glimpse = GlimpsedSource(source(), longest)
    for _ in range(data.draw(st.integers(0, 6))):
        row, col = data.draw(st.integers(-9, SHAPE[0])), data.draw(st.integers(-9, SHAPE[1]))
        glimpse.read(Window(row, col, data.draw(st.integers(1, 150)), data.draw(st.integers(1, 120))))
    small, expected = glimpse.thumbnail(longest), GlimpsedSource(source(), longest).thumbnail(longest)
    np.testing.assert_array_equal(small.rgb, expected.rgb)
    np.testing.assert_array_equal(small.valid, expected.valid)


@pytest.mark.parametrize("panel", [24, 97])
def test_what_has_passed_is_not_read_again(panel: int) -> None:
    counting = source()
    glimpse = GlimpsedSource(counting, 40)
    for row in range(0, SHAPE[0], 32):
        for col in range(0, SHAPE[1], panel):
            glimpse.read(Window(row, col, min(32, SHAPE[0] - row), min(panel, SHAPE[1] - col)))
    glimpse.thumbnail(40)
    glimpse.thumbnail(40)
    assert counting.blocks.min() == counting.blocks.max() == 1


def test_only_what_is_missing_is_read() -> None:
    counting = source()
    glimpse = GlimpsedSource(counting, 40)
    for row in range(64, SHAPE[0], 16):  # as a run that goes on does
        glimpse.read(Window(row, 0, min(16, SHAPE[0] - row), SHAPE[1]))
    glimpse.thumbnail(40)
    assert counting.blocks.sum() <= counting.blocks.size + 2 * counting.blocks.shape[1] * 8


def test_another_size_is_the_source_s_own() -> None:
    counting = source()
    glimpse = GlimpsedSource(counting, 40)
    np.testing.assert_array_equal(glimpse.thumbnail(20).rgb, counting.thumbnail(20).rgb)


def test_a_file_with_overviews_needs_none(tmp_path: Path) -> None:
    import rasterio

    path = write(tmp_path / "area.tif", colours(300, 400))
    with open_source(path) as opened:
        assert isinstance(glimpsed(opened, 100), GlimpsedSource)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2], rasterio.enums.Resampling.average)
    with open_source(path) as opened:
        assert glimpsed(opened, 100) is opened
