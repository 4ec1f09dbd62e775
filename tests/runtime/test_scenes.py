"""Made scenes: the same bits in any window, exact truth, sane shares, and files that are what was rendered."""

import hashlib
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import rasterio

from calanddet.runtime.errors import OptionError, OutputError
from calanddet.runtime.scenes import Scene, write_scene
from calanddet.runtime.scenes.crowns import _envelope
from calanddet.runtime.scenes.landslides import OLD, REACH_M, find_sites
from calanddet.runtime.scenes.layers import layers_of
from calanddet.runtime.scenes.noise import Lattice, fbm, key, lift
from calanddet.runtime.scenes.palette import TONES, Surface, palette_of
from calanddet.runtime.scenes.style import style_of
from calanddet.runtime.scenes.terrain import COARSE_M, Ground, relief
from calanddet.runtime.types import Bytes, Window


def whole(scene: Scene) -> tuple[Bytes, Bytes]:
    return scene.render(Window(0, 0, *scene.shape))


def crop(values: Bytes, window: Window) -> Bytes:
    return values[window.row : window.stop_row, window.col : window.stop_col]


@pytest.mark.parametrize("gsd_m", [0.2, 0.37, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("rim", [False, True])
def test_a_window_is_the_crop_of_the_whole(gsd_m: float, rim: bool) -> None:
    scene = Scene(round(gsd_m * 100), (530, 347), gsd_m, rim)
    rgb, truth = whole(scene)
    assert rgb.shape == (530, 347, 3)
    assert rgb.dtype == truth.dtype == np.uint8
    random = np.random.default_rng(4)
    for _ in range(5):
        height, width = (int(side) for side in random.integers(1, 200, 2))
        window = Window(int(random.integers(530 - height)), int(random.integers(347 - width)), height, width)
        part, mask = scene.render(window)
        np.testing.assert_array_equal(part, crop(rgb, window))
        np.testing.assert_array_equal(mask, crop(truth, window))


def test_every_seed_agrees_with_itself_across_a_cut() -> None:
    for seed in range(12):
        scene = Scene(seed, (150, 190))
        rgb, truth = whole(scene)
        for window in (Window(0, 0, 150, 83), Window(0, 83, 150, 107), Window(61, 0, 89, 190)):
            part, mask = scene.render(window)
            np.testing.assert_array_equal(part, crop(rgb, window))
            np.testing.assert_array_equal(mask, crop(truth, window))


@pytest.mark.parametrize("shape", [(1, 1), (5, 700), (613, 3)])
def test_odd_shapes_are_crops_of_a_larger_scene(shape: tuple[int, int]) -> None:
    small = whole(Scene(9, shape))
    large = Scene(9, (700, 800)).render(Window(0, 0, *shape))
    np.testing.assert_array_equal(small[0], large[0])
    np.testing.assert_array_equal(small[1], large[1])


def test_far_from_the_origin_windows_still_agree() -> None:
    scene = Scene(3, (1 << 20, 1 << 20), 0.3)
    rgb, truth = scene.render(Window(1_000_003, 1_040_001, 120, 90))
    part, mask = scene.render(Window(1_000_050, 1_040_020, 31, 44))
    np.testing.assert_array_equal(part, rgb[47:78, 19:63])
    np.testing.assert_array_equal(mask, truth[47:78, 19:63])


def test_another_process_makes_the_same_bytes() -> None:
    code = (
        "import hashlib; from calanddet.runtime.scenes import Scene; from calanddet.runtime.types import Window;"
        "rgb, truth = Scene(77, (400, 300)).render(Window(130, 40, 90, 130));"
        "print(hashlib.sha256(rgb.tobytes() + truth.tobytes()).hexdigest())"
    )
    rgb, truth = Scene(77, (400, 300)).render(Window(130, 40, 90, 130))
    expected = hashlib.sha256(rgb.tobytes() + truth.tobytes()).hexdigest()
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected


def test_seeds_make_different_places() -> None:
    digests = {whole(Scene(seed, (40, 60)))[0].tobytes() for seed in range(20)}
    origins = {Scene(seed, (40, 60)).georeference.transform.c for seed in range(20)}
    assert len(digests) == 20
    assert len(origins) > 15


@pytest.mark.parametrize(
    ("seed", "shape", "gsd_m"),
    [(-1, (3, 4), 0.5), (0, (0, 4), 0.5), (0, (3, 1 << 21), 0.5), (0, (3, 4), 0.01), (0, (3, 4), float("nan"))],
)
def test_impossible_scenes_are_refused(seed: int, shape: tuple[int, int], gsd_m: float) -> None:
    with pytest.raises(OptionError):
        Scene(seed, shape, gsd_m)


@pytest.mark.parametrize("window", [Window(-1, 0, 2, 2), Window(0, 28, 2, 3), Window(19, 0, 2, 2)])
def test_a_window_outside_is_refused(window: Window) -> None:
    with pytest.raises(OptionError, match="20 x 30"):
        Scene(0, (20, 30)).render(window)


def test_landslides_cover_a_sane_share() -> None:
    shares = [float(whole(Scene(seed, (360, 440), 2.0))[1].mean()) for seed in range(16)]
    assert 0.05 <= float(np.mean(shares)) <= 0.15
    assert max(shares) < 0.35
    assert min(shares) > 0.0


def test_images_are_neither_dark_nor_burnt() -> None:
    for seed in range(10):
        rgb, _ = whole(Scene(seed, (300, 260), 1.0))
        assert 45 < rgb.mean() < 180
        assert (rgb == 255).all(axis=-1).mean() < 0.1
        assert rgb.std() > 12


def test_the_truth_lies_exactly_on_the_image() -> None:
    """Moved by a few pixels in any direction, the mask fits the picture worse."""

    def contrast(rgb: Bytes, truth: Bytes) -> float:
        excess = rgb[..., 0].astype(float) - rgb[..., 1]  # bare soil is redder than what grows around it
        return float(excess[truth == 1].mean() - excess[truth == 0].mean())

    for seed in (0, 1, 4):
        rgb, truth = whole(Scene(seed, (420, 640), 1.0))
        here = contrast(rgb, truth)
        assert here > 10
        for shift in ((4, 0), (-4, 0), (0, 4), (0, -4)):
            assert contrast(rgb, np.roll(truth, shift, (0, 1))) < here


def test_truth_is_the_fresh_landslides_and_not_the_old_ones_nor_the_river() -> None:
    fresh_seen = old_seen = 0
    for seed in range(40):
        scene = Scene(seed, (230, 320), 1.0)
        window = Window(0, 0, *scene.shape)
        truth = scene.render(window)[1].astype(bool)
        layers = layers_of(Ground(seed, style_of(seed), 1.0), window)
        pixels = Lattice.of(window)
        strength, cover, river = (
            lift(values, layers.lattice, pixels)
            for values in (layers.slides.strength, layers.slides.cover, layers.cover.river)
        )
        dry = np.abs(river) > style_of(seed).valley_m
        fresh, old = (strength > 2.5) & (cover < OLD) & dry, (strength > 2.5) & (cover >= OLD)
        assert truth[fresh].all()
        assert not truth[old].any()
        assert not truth[strength < -2.5].any()
        fresh_seen, old_seen = fresh_seen + int(fresh.sum()), old_seen + int(old.sum())
    assert fresh_seen > 10_000
    assert old_seen > 1_000


def test_landslides_run_downhill() -> None:
    drops = []
    for seed in range(6):
        ground = Ground(seed, style_of(seed), 0.5)
        window = Window(0, 0, 700, 900)
        level = ground.level(COARSE_M)
        land = relief(ground, Lattice.covering(window, level, int(2 * REACH_M / 0.5)))
        sites = find_sites(ground, land, window)
        head, toe = (land.nearest(sites.path[:, at, 0], sites.path[:, at, 1], 0.5) for at in (0, -1))
        drops.append(land.height[head] - land.height[toe])
    drop = np.concatenate(drops)
    assert len(drop) > 100
    assert (drop > 0).mean() > 0.95


def test_the_lattice_is_brought_down_smoothly_and_exactly() -> None:
    """Cubic B-spline subdivision keeps straight lines, so a plane stays that plane (Catmull and Clark 1978)."""
    fine = Lattice(0, -5, 13, 21, 34)
    coarse = fine.above(3)
    rows = (np.arange(coarse.height) + coarse.row)[:, None] * 8.0
    cols = (np.arange(coarse.width) + coarse.col)[None, :] * 8.0
    plane = (0.5 * rows - 0.25 * cols + 3.0).astype(np.float32)
    expected = 0.5 * (np.arange(21) - 5)[:, None] - 0.25 * (np.arange(34) + 13)[None, :] + 3.0
    np.testing.assert_allclose(lift(plane, coarse, fine), expected, atol=1e-5)


def test_noises_made_together_are_the_noises_made_alone() -> None:
    lattice = Lattice(1, -7, 4, 19, 26)
    levels = [{1: 0.5, 4: 1.0}, {2: 1.0}, {6: 2.0, 3: 0.1}]
    streams = [key(5, name) for name in "abc"]
    together = fbm(lattice, streams, levels)
    for index in range(3):
        np.testing.assert_array_equal(
            together[index], fbm(lattice, streams[index : index + 1], levels[index : index + 1])[0]
        )
    inner = Lattice(1, -2, 9, 6, 11)
    np.testing.assert_array_equal(lattice.crop(together, inner), fbm(inner, streams, levels))
    assert float(together[0].std()) > 0.05


def test_crowns_are_the_upper_envelope_of_all_trees() -> None:
    side, random = 7, np.random.default_rng(1)
    window = Window(10, 23, 30, 26)
    row, col = window.row // side - 1, window.col // side - 1
    cells = Lattice(0, row, col, (window.stop_row - 1) // side + 2 - row, (window.stop_col - 1) // side + 2 - col)
    size = (cells.height, cells.width)
    at_row, at_col = (random.integers(0, 4 * side, size).astype(np.int32) for _ in range(2))
    tall = random.integers(0, (4 * side) ** 2, size).astype(np.int32)
    tall[random.random(size) < 0.3] = -(1 << 22)
    tint = random.integers(0, 32, size).astype(np.int32)
    rows, cols = np.mgrid[window.row : window.stop_row, window.col : window.stop_col]
    best = np.zeros(rows.shape, np.int64)
    for i, j in np.ndindex(*size):
        d_row = 4 * rows - ((cells.row + i) * 4 * side + at_row[i, j])
        d_col = 4 * cols - ((cells.col + j) * 4 * side + at_col[i, j])
        best = np.maximum(best, ((tall[i, j] - d_row**2 - d_col**2) << 5) | tint[i, j])
    np.testing.assert_array_equal(_envelope(window, cells, side, (at_row, at_col, tall, tint)), best)


def test_the_palette_has_a_ramp_for_every_surface() -> None:
    assert palette_of(12).shape == (3, (Surface.ROOF + 4) * TONES)
    assert palette_of(12).min() > 0


def test_a_rim_is_irregular_black_and_without_truth() -> None:
    scene = Scene(2, (300, 420), 1.0, rim=True)
    rgb, truth = whole(scene)
    seen = scene.valid(Window(0, 0, 300, 420))
    bare, bare_truth = whole(Scene(2, (300, 420), 1.0))
    assert 0.8 < seen.mean() < 0.99
    assert seen[20:-20, 20:-20].all()
    assert len(set(seen.argmax(axis=1)[30:-30])) > 5
    np.testing.assert_array_equal(rgb, np.where(seen[..., None], bare, 0))
    np.testing.assert_array_equal(truth, np.where(seen, bare_truth, 0))


def test_files_hold_what_was_rendered_and_where_it_lies(tmp_path: Path) -> None:
    scene = Scene(6, (530, 1100), 0.5, rim=True)
    image, truth = tmp_path / "new" / "scene.tif", tmp_path / "new" / "truth.tif"
    calls: list[tuple[int, int]] = []
    write_scene(scene, image, mask_path=truth, progress=lambda done, total: calls.append((done, total)))
    rgb, mask = whole(scene)
    assert calls == [(512, 530), (530, 530)]
    with rasterio.open(image) as raster:
        assert raster.crs == scene.georeference.crs
        assert raster.crs.to_epsg() == 32648
        assert raster.transform == scene.georeference.transform
        assert raster.block_shapes == [(512, 512)] * 3
        seen = raster.dataset_mask() == 255
        np.testing.assert_array_equal(seen, scene.valid(Window(0, 0, 530, 1100)))
        error = np.abs(np.moveaxis(raster.read(), 0, -1).astype(int) - rgb)[seen]
        assert error.mean() < 6
    with rasterio.open(truth) as raster:
        assert raster.transform == scene.georeference.transform
        np.testing.assert_array_equal(raster.read(1), mask)
    assert sorted(path.name for path in image.parent.iterdir()) == ["scene.tif", "truth.tif"]


def test_the_same_scene_is_the_same_files(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_scene(Scene(8, (90, 130)), tmp_path / f"{name}.tif", mask_path=tmp_path / f"{name}_truth.tif")
    assert (tmp_path / "first.tif").read_bytes() == (tmp_path / "second.tif").read_bytes()
    assert (tmp_path / "first_truth.tif").read_bytes() == (tmp_path / "second_truth.tif").read_bytes()


def test_memory_does_not_grow_with_the_area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Window] = []

    def cheap(self: Scene, window: Window) -> tuple[Bytes, Bytes]:
        asked.append(window)
        return np.zeros((window.height, window.width, 3), np.uint8), np.zeros((window.height, window.width), np.uint8)

    monkeypatch.setattr(Scene, "render", cheap)
    tracemalloc.start()
    try:
        write_scene(Scene(1, (1500, 9000)), tmp_path / "wide.tif", mask_path=tmp_path / "truth.tif")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20 < 1500 * 9000 * 3
    assert max(window.height * window.width for window in asked) <= 512 * 512


def test_files_that_exist_stay_unless_they_may_go(tmp_path: Path) -> None:
    image, truth = tmp_path / "scene.tif", tmp_path / "truth.tif"
    truth.write_text("precious")
    with pytest.raises(OutputError, match="overwrite"):
        write_scene(Scene(1, (8, 9)), image, mask_path=truth)
    assert truth.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["truth.tif"]
    write_scene(Scene(1, (8, 9)), image, mask_path=truth, overwrite=True)
    with rasterio.open(truth) as raster:
        assert raster.shape == (8, 9)


def test_a_failure_leaves_nothing_behind_and_old_files_alone(tmp_path: Path) -> None:
    image, truth = tmp_path / "scene.tif", tmp_path / "truth.tif"
    image.write_text("old")

    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scene(Scene(1, (30, 40)), image, mask_path=truth, overwrite=True, progress=fail)
    assert image.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


@pytest.mark.skipif(sys.platform == "win32", reason="file sizes cannot be limited")
@pytest.mark.parametrize("short", [8, 1000, 5000, 60000])
def test_a_disk_that_fills_at_any_moment_leaves_nothing(short: int, tmp_path: Path) -> None:
    """Also in the last bytes, which GDAL writes when it closes, without an error."""
    import resource

    scene = Scene(3, (600, 700), 0.5, rim=True)
    write_scene(scene, tmp_path / "whole.tif", mask_path=tmp_path / "whole_truth.tif")
    before = sorted(path.name for path in tmp_path.iterdir())
    allowed = (tmp_path / "whole.tif").stat().st_size - short
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, hard))
    try:
        with pytest.raises(OutputError, match=r"the scene .*torn\.tif cannot be written"):
            write_scene(scene, tmp_path / "torn.tif", mask_path=tmp_path / "torn_truth.tif")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_places_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OutputError, match="cannot be written"):
        write_scene(Scene(1, (8, 9)), blocked / "scene.tif", mask_path=tmp_path / "truth.tif")
    with pytest.raises(OptionError, match="two files"):
        write_scene(Scene(1, (8, 9)), tmp_path / "one.tif", mask_path=tmp_path / "one.tif")
