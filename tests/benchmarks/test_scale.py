"""The benchmark of sizes: its mosaics are what they say, its maps are checked, and a wrong one is noticed."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from calanddet.benchmarks import scale
from calanddet.benchmarks.scale import measured
from calanddet.benchmarks.sparse import Part, make_parts, placed, write_mosaic
from calanddet.runtime import MapOptions
from calanddet.runtime.sources import open_source
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Window

SHAPES = ((260, 420), (300, 350))
CELL = 900


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Part]:
    return make_parts(tmp_path_factory.mktemp("parts"), SHAPES)


def test_a_mosaic_shows_its_parts_and_nodata_between_them(parts: list[Part], tmp_path: Path) -> None:
    places = placed((1800, 2700), parts, CELL)
    assert len(places) == 12
    assert placed((900, 2700), parts, CELL) == [place for place in places if place.row < 900]
    write_mosaic(tmp_path / "mosaic.vrt", (1800, 2700), places)
    shown = np.zeros((1800, 2700, 3), np.uint8)
    valid = np.zeros((1800, 2700), np.bool_)
    for place in places:
        here = np.s_[place.row : place.row + place.part.shape[0], place.col : place.col + place.part.shape[1]]
        with rasterio.open(place.part.path) as scene:
            valid[here] = scene.dataset_mask() > 0
            shown[here] = np.moveaxis(scene.read(), 0, 2) * valid[here][..., None]
    with open_source(tmp_path / "mosaic.vrt") as source:
        found = source.read(Window(0, 0, 1800, 2700))
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_array_equal(found.rgb, shown)
    assert 0.1 < valid.mean() < 0.5


def test_a_size_is_mapped_checked_and_told(
    parts: list[Part], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cost,) = measured([(1100, 1900)], tmp_path, parts=parts, cell=CELL)
    assert cost.mpx == pytest.approx(2.09)
    assert 0.1 < cost.valid_mpx < 1.0
    assert cost.inferred > 5
    assert cost.inferred + cost.skipped == len(TileGrid.cover((1100, 1900), 224, MapOptions().overlap))
    assert 50e6 < cost.peak_bytes < 1e9
    assert cost.cpu_s > 0.1
    assert "| 1,100 x 1,900 | 2 |" in capsys.readouterr().out
    probability = tmp_path / "maps" / "mosaic_probability.tif"
    with rasterio.open(probability, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        raster.write(np.full((1, 300, 300), 7, np.uint8), window=rasterio.windows.Window(0, 0, 300, 300))
    places = placed((1100, 1900), parts, CELL)
    with pytest.raises(RuntimeError, match=r"COG|valid pixels"):
        scale._check(tmp_path / "mosaic.vrt", tmp_path, cost, places)
