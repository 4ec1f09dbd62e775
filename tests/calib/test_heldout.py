"""What is kept back for the gate shares no pixel with what is calibrated on."""

from pathlib import Path

import numpy as np
import pytest

from calanddet.calib.heldout import choose_regions, mask_files, region_samples, split
from calanddet.calib.images import Images, TileDraw, find_images
from calanddet.runtime.types import Window
from helpers.numbers import random_rgb
from helpers.rasters import write

TILE = 32


def images_of(*shapes: tuple[int, int]) -> Images:
    return Images(tuple(Path(f"{number}.tif") for number in range(len(shapes))), shapes, "f")


def test_of_many_images_whole_ones_are_kept_back() -> None:
    images = images_of(*((40 + number, 90) for number in range(9)))
    parts = split(images, TILE, seed=3)
    assert len(parts.held_out) == 2
    back = {region.path for region in parts.held_out}
    assert back.isdisjoint(parts.calibration.paths)
    assert back | set(parts.calibration.paths) == set(images.paths)
    assert all(parts.calibration.shapes[i] == (40 + int(p.stem), 90) for i, p in enumerate(parts.calibration.paths))
    assert split(images, TILE, seed=3) == parts
    assert {split(images, TILE, seed=seed).held_out for seed in range(8)} != {parts.held_out}
    assert parts.calibration.fingerprint != images.fingerprint


@pytest.mark.parametrize(
    ("shape", "used", "kept_back"),
    [
        ((130, 50), (96, 50), Window(96, 0, 34, 50)),
        ((257, 70), (192, 70), Window(192, 0, 65, 70)),
        ((50, 200), (50, 128), Window(0, 128, 50, 72)),
        ((50, 40), (50, 40), None),
    ],
)
def test_of_few_images_the_last_part_is_kept_back(
    shape: tuple[int, int], used: tuple[int, int], kept_back: Window | None
) -> None:
    parts = split(images_of(shape), TILE, seed=0)
    assert parts.calibration.shapes == (used,)
    assert [region.window for region in parts.held_out] == ([] if kept_back is None else [kept_back])


@pytest.mark.parametrize("pool", [4, 400])
def test_no_tile_that_is_drawn_touches_what_is_kept_back(tmp_path: Path, pool: int) -> None:
    """Rows that are kept back have a red of 255, and nothing that is drawn from has."""
    rgb = np.minimum(random_rgb(1, 150, 110), 200)
    rgb[128 - TILE :, :, 0] = 255
    path = write(tmp_path / "area.tif", np.moveaxis(rgb, 2, 0))
    parts = split(find_images([path]), TILE, seed=0)
    assert parts.held_out[0].window.row == 128 - TILE
    drawn = [tile for tile, _ in TileDraw(parts.calibration, TILE, pool, 0)]
    assert drawn
    assert max(int(tile[:, :, 0].max()) for tile in drawn) <= 200
    (sample,) = region_samples(parts.held_out, {})
    assert np.array_equal(sample.rgb, rgb[128 - TILE :])
    assert not sample.truth.any()


def test_squares_cover_the_region_once_and_as_many_as_wanted(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", np.moveaxis(random_rgb(2, 300, 190), 2, 0))
    parts = split(find_images([path]), TILE, seed=0)
    all_of_it = choose_regions(parts.held_out, TILE, 10_000, seed=0)
    seen = np.zeros((300, 190), np.int64)
    for square in all_of_it:
        window = square.window
        seen[window.row : window.stop_row, window.col : window.stop_col] += 1
    assert seen.max() == 1
    assert seen[: parts.held_out[0].window.row].sum() == 0
    assert len(choose_regions(parts.held_out, TILE, 18, seed=0)) == 2


def test_masks_are_cut_as_the_images_are(tmp_path: Path) -> None:
    truth = np.zeros((150, 110), np.uint8)
    truth[140, 5] = 1
    (tmp_path / "masks").mkdir()
    path = write(tmp_path / "area.tif", np.moveaxis(random_rgb(3, 150, 110), 2, 0))
    write(tmp_path / "masks" / "area.tif", truth[None])
    images = find_images([path])
    parts = split(images, TILE, seed=0)
    (sample,) = region_samples(parts.held_out, mask_files(tmp_path / "masks", images))
    assert np.argwhere(sample.truth).tolist() == [[140 - parts.held_out[0].window.row, 5]]
