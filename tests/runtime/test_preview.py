"""The picture: what is drawn, where, and what stays of the image."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from calanddet.runtime.sinks.caption import BAR_HEIGHT, NARROWEST, Caption
from calanddet.runtime.sinks.preview import FILL, LINE, PreviewSink, preview_size
from calanddet.runtime.types import Bytes, Pixels
from helpers.maps import UTM, landslides_of

GREEN = (40, 90, 50)


def thumbnail(height: int, width: int) -> Pixels:
    """A green image whose left tenth is nodata."""
    rgb = np.full((height, width, 3), GREEN, np.uint8)
    valid = np.ones((height, width), np.bool_)
    valid[:, : width // 10] = False
    rgb[~valid] = 0
    return Pixels(rgb, valid)


def caption(count: int = 1, *, metre_per_px: float | None = 0.5) -> Caption:
    return Caption("area", count, 1234.5 if count else None, metre_per_px, LINE)


def drawn(folder: Path, found: Bytes, image: Pixels, told: Caption | None = None) -> Bytes:
    """The picture of a map, uint8, (H, W, 4), RGBA."""
    sink = PreviewSink(*found.shape)
    if (found >= 127).any():
        sink.write(landslides_of(found, UTM), 1)
    path = folder / "preview.png"
    sink.save(path, image, told or caption())
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA), np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((7680, 6144), (1600, 1280)),
        ((1000, 1200), (1000, 1200)),
        ((1, 1), (800, 800)),
        ((5, 700), (6, 800)),
        ((3, 9000), (1, 1600)),
    ],
)
def test_the_long_side_is_between_800_and_1600(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert preview_size(*size) == expected


def test_landslides_are_tinted_outlined_and_nothing_else_is(tmp_path: Path) -> None:
    found = np.zeros((600, 900), np.uint8)
    found[200:400, 300:700] = 200
    found[280:320, 450:550] = 0
    picture = drawn(tmp_path, found, thumbnail(600, 900))
    assert picture.shape == (600 + BAR_HEIGHT, 900, 4)
    inside, outside, hole = picture[250, 400], picture[100, 400], picture[300, 500]
    assert outside.tolist() == hole.tolist() == [*GREEN, 255]
    expected = [round(g + 0.35 * (f - g)) for g, f in zip(GREEN, FILL, strict=True)]
    np.testing.assert_allclose(inside[:3], expected, atol=1)
    for row, col in ((200, 500), (399, 500), (300, 300), (300, 699), (280, 500)):
        near = picture[row - 2 : row + 3, col - 2 : col + 3, :3].astype(int)
        assert np.abs(near - LINE).sum(axis=2).min() < 90


def test_nodata_is_transparent(tmp_path: Path) -> None:
    picture = drawn(tmp_path, np.zeros((600, 900), np.uint8), thumbnail(600, 900), caption(0))
    assert (picture[:600, :90, 3] == 0).all()
    assert (picture[:600, 90:, 3] == 255).all()
    assert (picture[600:, :, 3] == 255).all()


def test_a_single_pixel_of_a_large_raster_is_circled(tmp_path: Path) -> None:
    found = np.zeros((3000, 4000), np.uint8)
    found[1500, 1000] = 200
    picture = drawn(tmp_path, found, thumbnail(1200, 1600)).astype(int)
    reddish = np.abs(picture[:1200, :, :3] - LINE).sum(axis=2) < 150
    rows, cols = np.nonzero(reddish)
    assert len(rows) > 20
    assert abs(rows.mean() - 600) < 2
    assert abs(cols.mean() - 400) < 2
    assert 15 < np.ptp(rows) < 30


def test_a_crowd_of_small_landslides_is_not_hidden_under_circles(tmp_path: Path) -> None:
    found = np.zeros((800, 1200), np.uint8)
    found[::12, ::12] = 200
    picture = drawn(tmp_path, found, thumbnail(800, 1200))
    plain = (picture[:800, 120:, :3] == GREEN).all(axis=2).mean()
    assert plain > 0.5


@pytest.mark.parametrize("size", [(40, 20), (1200, 30), (30, 1200)])
def test_any_shape_has_a_legible_bar(tmp_path: Path, size: tuple[int, int]) -> None:
    found = np.full(size, 200, np.uint8)
    picture = drawn(tmp_path, found, thumbnail(*size), Caption("a" * 300, 12, 5e7, 2.0, LINE))
    height, width = preview_size(*size)
    assert picture.shape == (height + BAR_HEIGHT, max(width, NARROWEST), 4)
    bar = picture[-BAR_HEIGHT:, :, :3]
    assert (bar.max(axis=2) > 200).sum() > 100
    assert (bar[:, -12:].max(axis=2) < 60).all()


def test_the_scale_bar_is_as_long_as_it_says(tmp_path: Path) -> None:
    picture = drawn(tmp_path, np.zeros((700, 1000), np.uint8), thumbnail(700, 1000), caption(0, metre_per_px=0.3))
    line = picture[700 + 36, 500:, :3].min(axis=1) > 200
    assert abs(int(line.sum()) - 50 / 0.3) <= 4  # 50 m is the longest round length within 180 pixels


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Caption("a", 0, None, None, LINE), "no landslide"),
        (Caption("a", 1, 12.345, None, LINE), "1 landslide, 12.35 m²"),
        (Caption("a", 2, 44609.2, None, LINE), "2 landslides, 4.46 ha"),
        (Caption("a", 30, 2.5e6, None, LINE), "30 landslides, 2.50 km²"),
        (Caption("a", 3, None, None, LINE), "3 landslides"),
    ],
)
def test_the_caption_counts(told: Caption, words: str) -> None:
    assert told.finding == words


def test_pictures_are_the_same_every_time_and_thumbnails_stay_untouched(tmp_path: Path) -> None:
    found = np.zeros((600, 900), np.uint8)
    found[100:300, 200:800] = 200
    image = thumbnail(600, 900)
    before = image.rgb.copy()
    np.testing.assert_array_equal(drawn(tmp_path, found, image), drawn(tmp_path, found, image))
    np.testing.assert_array_equal(image.rgb, before)


def test_a_thumbnail_of_another_size_is_fitted(tmp_path: Path) -> None:
    picture = drawn(tmp_path, np.zeros((600, 900), np.uint8), thumbnail(200, 300), caption(0))
    assert picture.shape == (600 + BAR_HEIGHT, 900, 4)
    assert picture[300, 500].tolist() == [*GREEN, 255]
    assert (picture[:600, :88, 3] == 0).all()
