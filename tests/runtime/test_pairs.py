from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from calanddet.runtime.errors import InputError
from calanddet.runtime.evaluation import pair_samples
from calanddet.runtime.pairs import find_pairs, read_image, read_mask
from helpers.numbers import random_rgb
from helpers.rasters import write
from helpers.shared import shared

SHAPE = (23, 37)


def write_jpeg(file: Path, seed: int = 0, shape: tuple[int, int] = SHAPE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    smooth = cv2.GaussianBlur(random_rgb(seed, *shape), (0, 0), 3)
    assert cv2.imwrite(str(file), smooth)


def write_mask(file: Path, values: tuple[int, ...] = (0, 255), shape: tuple[int, int] = SHAPE) -> np.ndarray:
    file.parent.mkdir(parents=True, exist_ok=True)
    mask = np.random.default_rng(1).choice(np.array(values, np.uint8), shape)
    assert cv2.imwrite(str(file), mask)
    return mask


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    for index, stem in enumerate(("north__b", "north__a", "plain")):
        write_jpeg(tmp_path / "image" / f"{stem}.jpg", index)
        write_mask(tmp_path / "mask" / f"{stem}.png")
    return tmp_path


def test_pairs_are_found_by_stem_in_order_of_name(folder: Path) -> None:
    pairs = find_pairs(folder)
    assert [pair.image.stem for pair in pairs] == ["north__a", "north__b", "plain"]
    assert [pair.mask.stem for pair in pairs] == [pair.image.stem for pair in pairs]
    assert [pair.source for pair in pairs] == ["north", "north", "all"]
    assert {(pair.height, pair.width) for pair in pairs} == {SHAPE}


def test_two_given_folders_give_the_same_pairs(folder: Path) -> None:
    assert find_pairs(folder / "image", folder / "mask") == find_pairs(folder)


def test_a_manifest_names_the_source(folder: Path) -> None:
    (folder / "manifest.csv").write_text("image,source\nimage/plain.jpg,valley\n")
    assert [pair.source for pair in find_pairs(folder)] == ["north", "north", "valley"]


def test_a_manifest_that_a_spreadsheet_wrote_is_no_other(folder: Path) -> None:
    (folder / "manifest.csv").write_text("image,source\nimage/plain.jpg,valley\n", encoding="utf-8-sig")
    assert [pair.source for pair in find_pairs(folder)] == ["north", "north", "valley"]


@pytest.mark.parametrize(
    "content", [b"image,source\nimage/plain.jpg,Jos\xe9\n", b'image,source\na,"' + b"x" * 200_000 + b'"\n']
)
def test_a_manifest_that_is_no_table_is_told(folder: Path, content: bytes) -> None:
    (folder / "manifest.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.csv cannot be read as a table of UTF-8 text"):
        find_pairs(folder)


@pytest.mark.parametrize("kind", ["alpha", "nodata", "both", "mask"])
def test_training_sees_what_a_map_sees(tmp_path: Path, kind: str) -> None:
    """What an image does not show is black, as the stream makes it, and no landslide whatever its mask says."""
    rgb = np.moveaxis(random_rgb(5, *SHAPE) | 1, -1, 0)
    rgb[:, 3:9, 5:30] = 7
    alpha = np.full((1, *SHAPE), 255, np.uint8)
    alpha[:, 12:, :4] = 0
    profile: dict[str, Any] = {"nodata": 7} if kind in {"nodata", "both"} else {}
    if kind in {"alpha", "both"}:
        profile["interpretation"] = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    if kind == "mask":
        profile["mask"] = alpha[0] > 0
    (tmp_path / "image").mkdir()
    write(tmp_path / "image" / "a.tif", np.concatenate([rgb, alpha]) if "interpretation" in profile else rgb, **profile)
    write_mask(tmp_path / "mask" / "a.png", (1,))
    (pair,) = find_pairs(tmp_path)
    (sample,) = pair_samples([pair])
    seen, truth = pair.read()
    np.testing.assert_array_equal(seen, sample.rgb)
    np.testing.assert_array_equal(truth, sample.valid)
    assert 0 < np.count_nonzero(truth) < truth.size


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0,), (255,), (1,)])
def test_masks_of_zero_and_one_or_255_become_zero_and_one(tmp_path: Path, values: tuple[int, ...]) -> None:
    written = write_mask(tmp_path / "m.png", values)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), written != 0)


def test_images_are_rgb(tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    cv2.imwrite(str(file), np.full((4, 9, 3), (0, 0, 200), np.uint8))  # OpenCV writes BGR
    assert read_image(file).tolist() == np.full((4, 9, 3), (200, 0, 0)).tolist()


def test_geotiff_pairs(tmp_path: Path) -> None:
    rgb, truth = random_rgb(7, *SHAPE), np.random.default_rng(2).integers(0, 2, SHAPE, dtype=np.uint8)
    for name, bands in (("image", rgb.transpose(2, 0, 1)), ("mask", truth[None])):
        (tmp_path / name).mkdir()
        profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": len(bands), "dtype": "uint8"}
        transform = Affine(0.5, 0, 3e5, 0, -0.5, 4e6)
        with rasterio.open(tmp_path / name / "a.tif", "w", crs="EPSG:32648", transform=transform, **profile) as file:
            file.write(bands)
    (pair,) = find_pairs(tmp_path)
    got_rgb, got_truth = pair.read()
    np.testing.assert_array_equal(got_rgb, rgb)
    np.testing.assert_array_equal(got_truth, truth)


def test_an_image_without_mask_is_named(folder: Path) -> None:
    (folder / "mask" / "plain.png").unlink()
    with pytest.raises(InputError, match=r"plain\.jpg has no mask"):
        find_pairs(folder)


def test_a_mask_without_image_is_named(folder: Path) -> None:
    (folder / "image" / "plain.jpg").unlink()
    with pytest.raises(InputError, match=r"plain\.png is a mask without image"):
        find_pairs(folder)


def test_two_images_of_one_stem_are_named(folder: Path) -> None:
    write_jpeg(folder / "image" / "plain.jpeg")
    with pytest.raises(InputError, match=r"plain\.jpg and plain\.jpeg have one stem"):
        find_pairs(folder)


def test_other_sizes_are_named_with_their_numbers(folder: Path) -> None:
    write_mask(folder / "mask" / "plain.png", shape=SHAPE[::-1])
    with pytest.raises(InputError, match=r"plain\.jpg is 23 x 37 .*plain\.png is 37 x 23"):
        find_pairs(folder)


@pytest.mark.parametrize("values", [(0, 1, 255), (0, 7), (1, 255)])
def test_other_mask_values_are_named(folder: Path, values: tuple[int, ...]) -> None:
    write_mask(folder / "mask" / "plain.png", values)
    with pytest.raises(InputError, match=rf"plain\.png holds the values {values[0]}, {values[1]}"):
        find_pairs(folder)


def test_a_jpeg_that_ends_early_is_refused(folder: Path) -> None:
    file = folder / "image" / "plain.jpg"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match=r"plain\.jpg cannot be decoded"):
        find_pairs(folder)


def test_a_png_that_ends_early_is_refused(folder: Path) -> None:
    """Without complaint, GDAL fills the rest with black: of a mask, that would be ground without landslide."""
    file = folder / "mask" / "plain.png"
    whole = file.read_bytes()
    for kept in (len(whole) - 13, len(whole) // 2):
        file.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=rf"plain\.png is truncated: its {kept} bytes"):
            find_pairs(folder)
    file.write_bytes(b"")
    with pytest.raises(InputError, match=r"plain\.png is empty"):
        find_pairs(folder)


def test_an_image_of_one_band_or_16_bit_is_refused(tmp_path: Path) -> None:
    write_mask(tmp_path / "grey.png")
    with pytest.raises(InputError, match=r"grey\.png has 1 band"):
        read_image(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((4, 6, 3), np.uint16))
    with pytest.raises(InputError, match=r"deep\.png is uint16"):
        read_image(tmp_path / "deep.png")


def test_a_mask_of_three_bands_is_refused(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "m.jpg")
    with pytest.raises(InputError, match=r"m\.jpg has 3 bands"):
        read_mask(tmp_path / "m.jpg")


def test_an_empty_split_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must hold the folders image and mask"):
        find_pairs(tmp_path)
    (tmp_path / "image").mkdir()
    (tmp_path / "mask").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        find_pairs(tmp_path)
    with pytest.raises(InputError, match="must both be folders"):
        find_pairs(tmp_path / "image", tmp_path / "nowhere")


def test_the_real_split_is_whole() -> None:
    pairs = find_pairs(shared("landslide", "val"))
    assert len(pairs) == 35
    assert {pair.source for pair in pairs} == {"bijie", "bijieup", "hokkaido", "sichuan", "uav"}
    assert all(set(np.unique(pair.read()[1])) <= {0, 1} for pair in pairs[:3])
