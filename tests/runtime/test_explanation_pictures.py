"""Colours, legends and sheets, on values whose colours are known."""

import numpy as np
import pytest

from calanddet.runtime.explanation.colours import OPACITY, Scale, laid_over
from calanddet.runtime.explanation.explainer import Layer
from calanddet.runtime.explanation.picture import BAR, NARROWEST, Drawing, draw, sheet
from calanddet.runtime.types import Pixels
from helpers.numbers import random_rgb

PLAIN, SIGNED = Layer("plain", "Plain", signed=False), Layer("signed", "Signed", signed=True)


def test_a_scale_holds_all_but_the_few_greatest_values() -> None:
    values = np.linspace(0, 3, 401, dtype=np.float32).reshape(1, -1)
    assert Scale.of(PLAIN, values).low == 0
    assert Scale.of(PLAIN, values).high == pytest.approx(0.995 * 3, rel=1e-3)
    both = Scale.of(SIGNED, -values)
    assert both.low == -both.high
    assert both.high == pytest.approx(0.995 * 3, rel=1e-3)


def test_a_scale_of_little_or_nothing_is_still_one() -> None:
    nothing = np.full((3, 4), np.nan, np.float32)
    assert Scale.of(PLAIN, nothing) == Scale.of(PLAIN, np.zeros((3, 4), np.float32)) == Scale(0.0, 1.0)
    lone = np.zeros((30, 40), np.float32)
    lone[3, 4] = 7
    assert Scale.of(PLAIN, lone) == Scale(0.0, 7.0)


def test_positions_end_at_one_and_nan_has_none() -> None:
    values = np.array([[-8, -2, 0, 1, 4, 9, np.nan]], np.float32)
    np.testing.assert_allclose(Scale(-4, 4).position(values), [[-1, -0.5, 0, 0.25, 1, 1, 0]])
    np.testing.assert_allclose(Scale(0, 4).position(values), [[0, 0, 0, 0.25, 1, 1, 0]])


def test_zero_shows_the_image_in_grey_and_signs_have_colours_of_their_own() -> None:
    rgb = random_rgb(1, 5, 7)
    bare = laid_over(rgb, np.zeros((5, 7), np.float32))
    assert np.ptp(bare, axis=2).max() == 0
    above, below = (laid_over(rgb, np.full((5, 7), sign, np.float32)).astype(int) for sign in (0.6, -0.6))
    assert (above[..., 0] > above[..., 2]).all()
    assert (below[..., 2] > below[..., 0]).all()
    # The image shows through the strongest colour by what is left of its opacity.
    strongest = laid_over(rgb, np.ones((5, 7), np.float32)).astype(int)
    seen = np.ptp(strongest[..., 0]) / np.ptp(bare[..., 0].astype(int))
    assert seen == pytest.approx(1 - OPACITY, abs=0.02)


def test_a_picture_has_its_size_its_legend_and_black_where_nothing_is_known() -> None:
    valid = np.ones((60, 130), np.bool_)
    valid[:20, :50] = False
    image = Pixels(random_rgb(2, 60, 130) * valid[..., None] // 2 + np.uint8(60) * valid[..., None], valid)
    values = np.where(valid, np.linspace(0, 1, 130), np.nan).astype(np.float32)
    picture = draw(image, Drawing("a map", values, Scale(0, 1)), (240, 520))
    assert picture.shape == (240 + BAR, 520, 3)
    assert picture.dtype == np.uint8
    assert not picture[:76, :196].any()
    assert (picture[84:240, 204:] > 0).all()
    plain = draw(image, Drawing("the image"), (240, 520))
    assert np.ptp(plain[84:240, 204:].astype(int), axis=2).mean() > 10  # in its own colours
    assert len(np.unique(picture[240:].reshape(-1, 3), axis=0)) > len(np.unique(plain[240:].reshape(-1, 3), axis=0))


def test_a_coarse_map_covers_the_whole_picture_smoothly() -> None:
    image = Pixels(np.full((64, 96, 3), 128, np.uint8), np.ones((64, 96), np.bool_))
    values = np.linspace(0, 1, 6, dtype=np.float32)[None].repeat(4, 0)
    picture = draw(image, Drawing("coarse", values, Scale(0, 1)), (256, 480))[:256].astype(int)
    redness = (picture[..., 0] - picture[..., 2]).mean(0)
    assert redness[0] == pytest.approx(0, abs=2)
    assert np.abs(np.diff(redness)).max() < 12
    assert redness[-1] > 40


def test_a_narrow_image_gets_room_for_its_legend() -> None:
    image = Pixels(np.full((300, 20, 3), 200, np.uint8), np.ones((300, 20), np.bool_))
    picture = draw(image, Drawing("narrow, with a title that is much too long for it" * 4), (300, 20))
    assert picture.shape == (300 + BAR, NARROWEST, 3)
    middle = (NARROWEST - 20) // 2
    assert (picture[:300, middle : middle + 20] == 200).all()


def test_the_pixel_in_question_is_marked_where_it_is() -> None:
    image = Pixels(np.full((50, 100, 3), 90, np.uint8), np.ones((50, 100), np.bool_))
    bare, marked = (draw(image, Drawing("x", mark=mark), (300, 600)) for mark in (None, (40.5 / 50, 10.5 / 100)))
    rows, cols = np.nonzero((bare != marked).any(-1))
    assert (rows.mean(), cols.mean()) == (pytest.approx(243, abs=1), pytest.approx(63, abs=1))


def test_a_sheet_holds_its_pictures_in_rows_with_the_notes_below() -> None:
    pictures = [np.full((40, 60, 3), 10 * (number + 5), np.uint8) for number in range(5)]
    bare = sheet(pictures, ())
    assert bare.shape == (2 * 40 + 6, 3 * 60 + 2 * 6, 3)
    assert (bare[46:, 66:126] == 90).all()
    noted = sheet(pictures, ("a sentence that is longer than the sheet is wide",))
    assert np.array_equal(noted[: len(bare)], bare)
    assert len(noted) > len(bare) + 2 * 22
    assert sheet(pictures[:1], ()).shape == (40, 60, 3)
