"""Small pictures of large rasters."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from calanddet.runtime.errors import OptionError
from calanddet.runtime.sources import open_source
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.types import Window
from helpers.rasters import COLS, ROWS, assert_same, colours, holes, write


@pytest.mark.parametrize(("longest", "shape"), [(1000, (75, 113)), (113, (75, 113)), (56, (37, 56)), (1, (1, 1))])
def test_thumbnails_keep_the_proportions(tmp_path: Path, longest: int, shape: tuple[int, int]) -> None:
    with open_source(write(tmp_path / "area.tif", colours(ROWS, COLS))) as source:
        assert source.thumbnail(longest).valid.shape == shape


def test_a_thumbnail_of_the_full_size_is_the_image(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), mask=holes())
    with open_source(path) as source:
        small, full = source.thumbnail(COLS), source.read(Window(0, 0, ROWS, COLS))
    assert_same(small, full.rgb, full.valid)


def test_thumbnails_are_means_of_valid_pixels(tmp_path: Path) -> None:
    planes = np.zeros((3, 4, 8), np.uint8)
    planes[:, :2, :2] = [[[10, 20], [30, 41]]]
    planes[:, :2, 2:4] = 99
    valid = np.zeros((4, 8), np.bool_)
    valid[:2, :2] = True
    valid[0, 2] = True
    valid[2:, 4:] = True
    path = write(tmp_path / "area.tif", planes, mask=valid)
    with open_source(path) as source:
        small = source.thumbnail(4)
    assert small.rgb[0, 0].tolist() == [25, 25, 25]
    assert small.valid.tolist() == [[True, False, False, False], [False, False, True, True]]
    assert not small.rgb[0, 1].any()


@pytest.mark.parametrize("longest", [37, 500, 1333, 2999])
def test_thumbnails_put_together_from_strips_do_not_shift(tmp_path: Path, longest: int) -> None:
    ramp = np.broadcast_to((np.arange(3000) * 255 / 3000).astype(np.uint8)[:, None], (3, 3000, 40))
    with open_source(write(tmp_path / "area.tif", ramp, compress="deflate", blockysize=16)) as source:
        small = source.thumbnail(longest)
    rows = len(small.valid)
    assert rows == longest
    assert small.valid.all()
    centres = (np.arange(rows) + 0.5) * 255 / rows
    assert np.abs(small.rgb[:, :, 0] - centres[:, None]).max() < 1.5 + 255 / rows / 2


def test_thumbnails_come_from_overviews(tmp_path: Path) -> None:
    for name, band in (("red", 0), ("green", 1)):
        planes = np.zeros((3, 64, 96), np.uint8)
        planes[band] = 200
        path = write(tmp_path / f"{name}.tif", planes)
        with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as dataset:
            dataset.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    (tmp_path / "green.tif.ovr").replace(tmp_path / "red.tif.ovr")
    with open_source(tmp_path / "red.tif") as source:
        assert source.thumbnail(24).rgb[3, 3].tolist() == [0, 200, 0]
        assert source.thumbnail(96).rgb[3, 3].tolist() == [200, 0, 0]


def test_thumbnails_of_other_types_and_palettes(tmp_path: Path) -> None:
    wide = write(tmp_path / "wide.tif", colours(ROWS, COLS).astype(np.uint16) * 8, nodata=0)
    table = {n: (n, 0, 255 - n, 255) for n in range(256)}
    indexed = write(tmp_path / "indexed.tif", np.full((1, ROWS, COLS), 40, np.uint8), photometric="palette")
    with rasterio.open(indexed, "r+") as dataset:
        dataset.write_colormap(1, table)
    with open_source(wide) as source:
        assert source.thumbnail(30).rgb.std() > 10
    with open_source(indexed) as source:
        assert (source.thumbnail(30).rgb == [40, 0, 215]).all()


@pytest.mark.parametrize("longest", [0, -5])
def test_a_thumbnail_of_no_size_is_refused(tmp_path: Path, longest: int) -> None:
    with (
        open_source(write(tmp_path / "area.tif", colours(5, 7))) as source,
        pytest.raises(OptionError, match="positive"),
    ):
        source.thumbnail(longest)
    with pytest.raises(OptionError, match="positive"):
        ArraySource(np.zeros((5, 7, 3), np.uint8)).thumbnail(longest)
