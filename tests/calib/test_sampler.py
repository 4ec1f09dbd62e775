"""Which tiles are taken: from everywhere, of every kind, the same each time, and none of nodata."""

import logging
import resource
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calanddet.calib.images import TileDraw, find_images
from calanddet.calib.sampler import Sample, Sampling, draw_tiles
from calanddet.calib.strata import Traits, choose, strata, traits
from calanddet.calib.tilestore import TileStore
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.errors import InputError, OptionError, OutputError
from calanddet.runtime.types import Bytes
from helpers.int8 import write_pictures
from helpers.numbers import random_rgb
from helpers.rasters import write

TILE = 32


def sampled(names: list[Path], tiles: int, *, seed: int = 0) -> tuple[Sample, Bytes]:
    engine = NullEngine(batch=3, tile=TILE)
    with TileStore(TILE) as store:
        sample = draw_tiles(find_images(names), engine, store, Sampling(tiles, seed))
        found = np.concatenate(list(store.batches(5)))
    engine.close()
    return sample, found


def test_the_same_seed_takes_the_same_tiles(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "in", 3)
    first, tiles = sampled([folder], 20)
    again, same = sampled([folder], 20)
    other, _ = sampled([folder], 20, seed=1)
    assert first == again
    np.testing.assert_array_equal(tiles, same)
    assert first.sha256 != other.sha256
    assert (first.images, first.tiles, first.pool, len(tiles)) == (3, 20, 80, 20)


def test_tiles_are_cut_out_of_the_images_without_change(tmp_path: Path) -> None:
    image = random_rgb(3, 75, 113)
    cv2.imwrite(str(tmp_path / "a.png"), image[:, :, ::-1])
    _, tiles = sampled([tmp_path / "a.png"], 1000)
    # Tiles are spread so that the last one ends with the raster, 0 to 43 and 0 to 81.
    cut = {image[r : r + TILE, c : c + TILE].tobytes() for r in range(44) for c in range(82)}
    assert {tile.tobytes() for tile in tiles} <= cut
    assert len({tile.tobytes() for tile in tiles}) == len(tiles)


def test_nodata_tiles_are_passed_over(tmp_path: Path) -> None:
    planes = np.full((3, 64, 320), 90, np.uint8)
    valid = np.zeros((64, 320), np.bool_)
    valid[:, :64] = True
    path = write(tmp_path / "a.tif", planes, mask=valid)
    sample, tiles = sampled([path], 4)
    assert sample.pool == sample.tiles == 4
    assert (tiles == 90).all()


def test_imagery_without_a_valid_pixel_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.zeros((3, 64, 96), np.uint8), mask=np.zeros((64, 96), np.bool_))
    with pytest.raises(InputError, match="all is nodata"):
        sampled([path], 4)


def test_too_few_tiles_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_pictures(tmp_path / "in", 1, height=40, width=60)
    with caplog.at_level(logging.WARNING, "calanddet"):
        sample, tiles = sampled([folder], 128)
    assert sample.tiles == len(tiles) < 128
    assert f"give {sample.tiles} calibration tiles, fewer than the 128 wanted" in caplog.text


def test_no_landslide_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dark = np.full((64, 96, 3), 20, np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), dark)
    with caplog.at_level(logging.WARNING, "calanddet"):
        sample, _ = sampled([tmp_path / "a.png"], 2)
    assert sample.with_landslide == 0
    assert "no landslide in any of the 2" in caplog.text


def test_images_share_evenly_whatever_their_size(tmp_path: Path) -> None:
    for index, side in enumerate((33, 320, 640)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((side, 2 * side, 3), 50 * index + 50, np.uint8))
    draw = TileDraw(find_images([tmp_path]), TILE, 100, 0)
    taken = Counter(int(rgb[0, 0, 0]) for rgb, _ in draw)
    # 33 x 66 has two rows of three tiles.
    assert taken == {50: 6, 100: 47, 150: 47}


def test_lists_name_images(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "in", 2)
    names = tmp_path / "list.txt"
    names.write_text(f"# calibration\n{folder / '1.png'}\n\n{folder}\n")
    assert [path.name for path in find_images([names]).paths] == ["1.png", "0.png"]
    assert find_images([names]).shapes == ((237, 300), (230, 300))


def test_lists_that_name_nothing_are_refused(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty.txt", tmp_path / "binary.txt"
    empty.write_text("\n# nothing\n")
    binary.write_bytes(b"\xff\xfe\x00")
    for path, word in ((empty, "names no image"), (binary, "not text"), (tmp_path / "absent.txt", "cannot be read")):
        with pytest.raises(InputError, match=word):
            find_images([path])
    with pytest.raises(InputError, match="no image was named"):
        find_images([])


def test_a_changed_image_changes_the_fingerprint(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "in", 2)
    before = find_images([folder]).fingerprint
    assert find_images([folder]).fingerprint == before
    cv2.imwrite(str(folder / "1.png"), random_rgb(0, 50, 70))
    assert find_images([folder]).fingerprint != before


@given(st.integers(0, 99), st.integers(1, 60), st.integers(1, 80))
def test_every_stratum_is_represented_as_far_as_there_is_room(seed: int, size: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    pool = [
        Traits(rng.random(), rng.random(), float(rng.choice([0.0, 0.2, 0.9], p=[0.9, 0.05, 0.05]))) for _ in range(size)
    ]
    chosen = choose(pool, count, seed=seed)
    assert chosen == sorted(set(chosen)) == choose(pool, count, seed=seed)
    assert len(chosen) == min(size, count)
    have, taken = Counter(strata(pool).tolist()), Counter(strata(pool)[chosen].tolist())
    # Whoever gave less than another by two or more had no more to give.
    for stratum, there in have.items():
        assert taken[stratum] == there or taken[stratum] >= max(taken.values()) - 1


def test_traits_measure_valid_pixels_only() -> None:
    rgb = np.zeros((8, 12, 3), np.uint8)
    rgb[:, 6:] = 100
    valid = np.zeros((8, 12), np.bool_)
    valid[:, 6:] = True
    assert traits(rgb, valid) == Traits(100.0, 0.0)
    checks = (np.indices((8, 12)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert traits(np.repeat(checks[..., None], 3, axis=2), np.ones((8, 12), np.bool_)) == Traits(100.0, 200.0)


def test_a_store_gives_back_what_it_was_given_in_the_order_chosen() -> None:
    tiles = np.stack([random_rgb(seed, 16, 16) for seed in range(7)])
    with TileStore(16) as store:
        for tile in tiles:
            store.add(tile)
        np.testing.assert_array_equal(np.concatenate(list(store.batches(3))), tiles)
        whole = store.digest()
        store.keep([5, 0, 2])
        assert len(store) == 3
        assert [len(batch) for batch in store.batches(2)] == [2, 1]
        np.testing.assert_array_equal(np.concatenate(list(store.batches(2))), tiles[[5, 0, 2]])
        assert store.digest() != whole
        with pytest.raises(ValueError, match="chosen already"):
            store.add(tiles[0])
    store.close()


def test_a_store_takes_tiles_only() -> None:
    with TileStore(16) as store:
        with pytest.raises(ValueError, match=r"uint8 \(16, 16, 3\), not uint8 \(16, 8, 3\)"):
            store.add(np.zeros((16, 8, 3), np.uint8))
        with pytest.raises(ValueError, match="indices"):
            store.keep([0])


def test_a_full_disk_is_told_when_the_tile_is_added() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with TileStore(16) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 16 * 3 - 1, hard))
        try:
            with pytest.raises(OutputError, match="calibration tiles cannot be written"):
                store.add(np.zeros((16, 16, 3), np.uint8))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_list_as_spreadsheets_write_it_is_read(tmp_path: Path) -> None:
    picture = write_pictures(tmp_path, 1) / "0.png"
    (tmp_path / "list.txt").write_text(f"{picture}\n", encoding="utf-8-sig")
    assert find_images([tmp_path / "list.txt"]).paths == (picture,)


@pytest.mark.parametrize(("tiles", "seed"), [(0, 0), (1 << 21, 0), (4, -1)])
def test_impossible_samples_are_refused(tiles: int, seed: int) -> None:
    with pytest.raises(OptionError):
        Sampling(tiles, seed)
