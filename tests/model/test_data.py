from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calanddet.model.augment import Picture, crop, mix_batch, vary
from calanddet.model.data import TRAINING_SCENES, Batches, Corpus, batches_from, made_tile, of_step
from calanddet.model.recipe import PUBLISHED_RECIPE, SMALL_DATA
from calanddet.runtime.pairs import find_pairs
from calanddet.runtime.scenes import Scene
from helpers.pairs import painted, write_pairs

TILE = 96
STRONG = SMALL_DATA.augmentation


@pytest.fixture
def corpus(tmp_path: Path) -> Any:
    return Corpus.load(find_pairs(write_pairs(tmp_path, 4)))


def brown(rgb: Any) -> Any:
    """Where painted images show a landslide: more red than green."""
    return rgb[:, :, 0] > rgb[:, :, 1]


@pytest.mark.parametrize("seed", range(12))
def test_the_mask_follows_the_image_through_every_turn_and_scale(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rgb, truth = crop(rng, Picture.of(*painted(seed, 170, 310)), TILE, STRONG)
    assert rgb.shape == (TILE, TILE, 3)
    assert truth.max() <= 1
    assert np.mean(brown(rgb) == truth) > 0.98


def test_crops_of_the_published_recipe_are_pixels_of_the_image() -> None:
    picture = Picture.of(*painted(3, 140, 200))
    rgb, _ = crop(np.random.default_rng(5), picture, TILE, PUBLISHED_RECIPE.augmentation)
    assert set(map(tuple, rgb.reshape(-1, 3))) <= set(map(tuple, picture.levels[0][0].reshape(-1, 3)))


def test_what_lies_beyond_a_small_image_is_black_and_no_landslide() -> None:
    picture = Picture.of(np.full((30, 50, 3), 200, np.uint8), np.ones((30, 50), np.uint8))
    rgb, truth = crop(np.random.default_rng(1), picture, TILE, PUBLISHED_RECIPE.augmentation)
    inside = rgb.any(2)
    assert 0.9 * 30 * 50 < inside.sum() < 1.1 * 30 * 50
    assert not truth[~inside].any()


def test_aimed_crops_hold_the_landslide_more_often() -> None:
    picture = Picture.of(*painted(2, 900, 700))

    def share(aim: float) -> Any:
        recipe = replace(PUBLISHED_RECIPE.augmentation, aim=aim)
        rng = np.random.default_rng(7)
        return np.mean([crop(rng, picture, TILE, recipe)[1].any() for _ in range(40)])

    assert share(1.0) > 0.9 > share(0.0) + 0.2


@pytest.mark.parametrize("seed", range(8))
def test_light_and_colour_keep_nodata_black_and_change_the_rest(seed: int) -> None:
    rgb = painted(seed, 60, 90)[0]
    rgb[:20] = 0
    everything = replace(STRONG, colour=1.0, light=1.0, blur=1.0, noise=1.0, jpeg=1.0)
    varied = vary(np.random.default_rng(seed), rgb, everything)
    assert not varied[:20].any()
    assert np.mean(varied[20:] != rgb[20:]) > 0.5


def test_jpeg_spoils_blue_more_than_red() -> None:
    """Red has 0.299 of JPEG's luminance, blue 0.114, and colour is kept at half the resolution."""
    jpeg = replace(STRONG, colour=0.0, light=0.0, grey=0.0, blur=0.0, noise=0.0, jpeg=1.0)
    grain = np.random.default_rng(1).integers(60, 196, (64, 96), dtype=np.uint8)
    lost = []
    for channel in (0, 2):
        rgb = np.full((64, 96, 3), 128, np.uint8)
        rgb[..., channel] = grain
        varied = vary(np.random.default_rng(2), rgb, jpeg)[..., channel]
        lost.append(np.mean((varied.astype(float) - grain) ** 2))
    assert lost[1] > 1.2 * lost[0]


def test_mixing_takes_pixels_and_truth_from_one_place() -> None:
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    rgb = np.broadcast_to(colours[:, None, None], (3, 40, 40, 3)).copy()
    masks = np.stack([np.full((40, 40), index % 2, np.uint8) for index in range(3)])
    mix_batch(np.random.default_rng(0), rgb, masks, replace(STRONG, mix=1.0, paste=0.0))
    assert {len(np.unique(one.reshape(-1, 3), axis=0)) for one in rgb} == {2}
    for picture, mask in zip(rgb, masks, strict=True):
        np.testing.assert_array_equal(mask, (picture[:, :, 0] == 40).astype(np.uint8))


def test_pasting_takes_the_neighbours_landslides_alone() -> None:
    pairs = [painted(seed, 50, 50) for seed in range(3)]
    rgb, masks = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    before, truth = rgb.copy(), masks.copy()
    mix_batch(np.random.default_rng(0), rgb, masks, replace(STRONG, mix=0.0, paste=1.0))
    for index in range(3):
        taken = truth[(index + 1) % 3] != 0
        np.testing.assert_array_equal(masks[index], truth[index] | taken)
        np.testing.assert_array_equal(rgb[index][~taken], before[index][~taken])
        np.testing.assert_array_equal(rgb[index][taken], before[(index + 1) % 3][taken])


def test_sources_are_drawn_by_the_root_of_their_pixels(corpus: Corpus) -> None:
    pixels = [sum(p.shape[0] * p.shape[1] for p in group) for group in corpus.pictures]
    np.testing.assert_allclose(corpus.shares, np.sqrt(pixels) / np.sqrt(pixels).sum())


def test_made_tiles_are_never_of_the_scenes_kept_for_judging(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real_init = Scene.__init__

    def recording(self: Scene, seed: int, *args: Any, **kwargs: Any) -> Any:
        seen.append(seed)
        real_init(self, seed, *args, **kwargs)

    monkeypatch.setattr(Scene, "__init__", recording)
    rng = np.random.default_rng(0)
    for _ in range(3):
        rgb, truth = made_tile(rng, 64)
        assert rgb.shape == (64, 64, 3)
        assert truth.max() <= 1
    assert len(seen) == 3
    assert min(seen) >= TRAINING_SCENES


def test_a_batch_depends_on_seed_and_step_alone(corpus: Corpus) -> None:
    recipe = replace(SMALL_DATA, batch=3, scenes=(0.5, 0.5), seed=4)
    first, again = of_step(corpus, recipe, 7, TILE), of_step(corpus, recipe, 7, TILE)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert np.any(first[0] != of_step(corpus, recipe, 8, TILE)[0])
    assert np.any(first[0] != of_step(corpus, replace(recipe, seed=5), 7, TILE)[0])


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_made_ahead_are_those_of_their_steps(corpus: Corpus, workers: int) -> None:
    recipe = replace(SMALL_DATA, steps=5, batch=2, scenes=(0.0, 0.0))
    got = list(batches_from(Batches(corpus, recipe, TILE), 2, workers=workers))
    assert len(got) == 3
    for step, (rgb, masks) in enumerate(got, 2):
        expected = of_step(corpus, recipe, step, TILE)
        assert torch.equal(rgb, torch.from_numpy(expected[0]))
        assert torch.equal(masks, torch.from_numpy(expected[1]))
