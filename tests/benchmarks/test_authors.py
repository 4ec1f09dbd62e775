"""The authors'-style loop gives what tiles of 50 % overlap and a centre crop should give, and `run` agrees."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from calanddet.benchmarks.authors import map_like_the_authors, patches, predicted
from calanddet.benchmarks.clock import SystemClock
from calanddet.benchmarks.duel import AUTHORS, OURS, Contender, _read, cases_of, duel, mask_iou
from calanddet.benchmarks.imagery import Imagery
from calanddet.runtime.engines.ort import OrtEngine, OrtOptions
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.model import Model
from calanddet.runtime.types import Bytes, Window
from helpers.clocks import TimedEngine
from helpers.models import write_echo_model

TILE = 32


@pytest.fixture
def echo(tmp_path: Path) -> Callable[[int], Engine]:
    file = write_echo_model(tmp_path / "echo.onnx", tile=TILE)
    return lambda batch: OrtEngine(file, OrtOptions(batch=batch, threads=1))


@pytest.fixture
def whole(tmp_path: Path) -> Callable[[int], Engine]:
    """With tiles large enough for the overlap of `run`."""
    file = write_echo_model(tmp_path / "whole.onnx", tile=224)
    return lambda batch: OrtEngine(file, OrtOptions(batch=batch, threads=1))


def noise(rows: int, cols: int) -> Bytes:
    return np.random.default_rng(7).integers(0, 256, (rows, cols, 3), np.uint8)


def blobs(rows: int, cols: int) -> Bytes:
    """Bright squares, which JPEG keeps."""
    return np.kron(
        np.random.default_rng(3).integers(0, 2, (rows // 16, cols // 16, 1), np.uint8) * 220,
        np.ones((16, 16, 3), np.uint8),
    )


@given(st.integers(1, 400), st.integers(1, 400), st.integers(64, 160))
@settings(max_examples=60, deadline=None)
def test_patches_cover_each_pixel_once_with_half_the_overlap_around(rows: int, cols: int, patch: int) -> None:
    seen = np.zeros((rows, cols), int)
    for window, own in patches((rows, cols), patch, TILE // 2):
        seen[own.row : own.stop_row, own.col : own.stop_col] += 1
        assert 0 <= window.row <= own.row
        assert own.stop_row <= window.stop_row <= rows
        assert 0 <= window.col <= own.col
        assert own.stop_col <= window.stop_col <= cols
        assert window.row == 0 or own.row - window.row >= TILE // 4
        assert window.stop_row == rows or window.stop_row - own.stop_row >= TILE // 4
        assert max(window.height, window.width) <= patch
    assert (seen == 1).all()


@pytest.mark.parametrize("shape", [(75, 130), (32, 49), (20, 90)])
def test_a_patch_is_the_centre_crop_of_half_overlapping_tiles(
    echo: Callable[[int], Engine], shape: tuple[int, int]
) -> None:
    image = noise(*shape)
    with closing(echo(5)) as engine:
        found, tiles = predicted(image, engine)
        wanted = Model(engine).predict(image, overlap=TILE // 2, blend="crop")
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(found, np.minimum(image[..., 0], 254))
    spans = [max(1, -(-(length - TILE // 2) // (TILE // 2))) for length in shape]
    assert tiles == spans[0] * spans[1]


def test_the_loop_over_patches_writes_the_mask_of_the_image(echo: Callable[[int], Engine], tmp_path: Path) -> None:
    imagery = Imagery(noise(150, 211), tmp_path)
    with closing(echo(4)) as engine:
        tiles = map_like_the_authors(imagery, engine, tmp_path / "mask.tif", patch=80)
    with closing(imagery.open("jpeg")) as source:
        seen = source.read(Window(0, 0, 150, 211)).rgb
    np.testing.assert_array_equal(_read(tmp_path / "mask.tif"), seen[..., 0] >= 127)
    assert tiles > 150 * 211 / (TILE / 2) ** 2 * 0.8


def test_both_ways_give_the_same_mask_and_every_round_is_kept(whole: Callable[[int], Engine], tmp_path: Path) -> None:
    imagery = Imagery(blobs(304, 480), tmp_path)
    shares: list[float] = []
    with closing(whole(4)) as engine:
        contenders = [Contender("plain", engine, AUTHORS), Contender("ours", engine, OURS)]
        duel(contenders, imagery, SystemClock(), rounds=2, folder=tmp_path / "maps", progress=shares.append)
    authors, ours = cases_of(contenders, imagery)
    assert [len(case.samples) for case in (authors, ours)] == [2, 2]
    assert ours.settings["mask_iou"] == 1.0
    assert "mask_iou" not in authors.settings
    assert authors.tiles > ours.tiles > 0
    assert ours.stages
    assert shares[-1] == 1.0


def test_who_fails_keeps_what_it_has_and_the_other_goes_on(whole: Callable[[int], Engine], tmp_path: Path) -> None:
    imagery = Imagery(blobs(240, 304), tmp_path)
    broken = TimedEngine(iter([0.0] * 1000), batch=4, fail_after=70)
    with closing(whole(4)) as engine:
        contenders = [Contender("plain", broken, AUTHORS), Contender("ours", engine, OURS)]
        duel(contenders, imagery, SystemClock(), rounds=3, folder=tmp_path / "maps")
    authors, ours = cases_of(contenders, imagery)
    assert "fell off the bus" in authors.problem
    assert len(authors.samples) < 3
    assert len(ours.samples) == 3


def test_the_iou_of_two_files_leaves_out_what_one_does_not_know(tmp_path: Path) -> None:
    left = np.array([[1, 1, 0, 255, 1]], np.uint8)
    right = np.array([[1, 0, 1, 1, 255]], np.uint8)
    for name, values in (("a", left), ("b", right)):
        size = {"height": 1, "width": 5, "count": 1, "dtype": "uint8", "transform": rasterio.Affine(1, 0, 9, 0, -1, 9)}
        with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", **size) as file:
            file.write(values, 1)
    assert mask_iou(tmp_path / "a.tif", tmp_path / "b.tif") == pytest.approx(1 / 3)
