"""Whole runs with landslides shaped in every way: the same bytes after a stop, partial sets, and what replaces what."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from pyogrio import raw

from calanddet.runtime import InputError, MapOptions, MapResult, OptionError, OutputError, map_partial, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.model import Model
from calanddet.runtime.types import Bytes, Prediction
from helpers.maps import blobs
from helpers.rasters import GRID, write

SHAPED = MapOptions(
    save_every_s=0, threshold=0.6, low_threshold=0.4, fill_holes=5.0, simplify=0.7, levels=(0.3, 0.8), min_area=2.0
)
SIZE = (900, 470)


class Dying(NullEngine):
    """Fails after so many batches."""

    def __init__(self, lives: int) -> None:
        super().__init__(batch=1)
        self._lives = lives

    def _infer(self, tiles: Bytes) -> Prediction:
        self._lives -= 1
        if self._lives < 0:
            raise InputError("the power went")
        return super()._infer(tiles)


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hills of red with pinholes in them, and a corner of nodata."""
    red = blobs(7, height=SIZE[0], width=SIZE[1], cell=40)
    red[np.random.default_rng(0).random(SIZE) < 0.01] = 5
    red[500:507, 100:130] = 5
    planes = np.stack([red, np.minimum(red, 200), red])
    return write(tmp_path_factory.mktemp("in") / "area.tif", np.where(red == 255, 0, planes), nodata=0)


def mapped(area: Path, out: Path, options: MapOptions = SHAPED, *, lives: int = 10**6) -> MapResult:
    engine = Dying(lives)
    try:
        (result,) = run(Model(engine), area, out, options=options)
    finally:
        engine.close()
    return result


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if not path.name.endswith("report.json")}


def test_a_stopped_run_gives_the_same_bytes_and_may_be_looked_at(area: Path, tmp_path: Path) -> None:
    whole = mapped(area, tmp_path / "whole")
    assert whole.report["landslides"]["area_m2_low"] < whole.report["landslides"]["area_m2"]
    assert {"mask", "levels"} <= {name.removeprefix("write ") for name in whole.report["stages"]}
    with pytest.raises(InputError, match="power"):
        mapped(area, tmp_path / "out", lives=13)
    (partial,) = map_partial(area, tmp_path / "out")
    assert partial.files["levels"].exists()
    with rasterio.open(partial.files["mask"]) as some, rasterio.open(whole.files["mask"]) as every:
        rows = partial.report["finished_rows"]
        assert rows == 512
        assert (some.read(1)[rows:] == 255).all()
        assert (some.read(1)[:400] == every.read(1)[:400]).mean() > 0.98, "but for landslides that go on below"
        assert some.tags()["low_threshold"] == "0.4"
    for path in (tmp_path / "out").glob("area_partial_*"):
        path.unlink()
    again = mapped(area, tmp_path / "out")
    assert again.report["resumed"] == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_polygons_mask_and_report_tell_the_same(area: Path, tmp_path: Path) -> None:
    result = mapped(area, tmp_path, replace(SHAPED, min_area=0.0, simplify=0.0))
    meta, _, geometry, columns = raw.read(result.files["geopackage"])
    fields = list(meta["fields"])
    polygons = shapely.from_wkb(geometry)
    assert shapely.is_valid(polygons).all()
    with rasterio.open(result.files["mask"]) as mask, rasterio.open(result.files["probability"]) as probability:
        found, sure = mask.read(1), probability.read(1)
        inside = rasterio.features.rasterize(polygons, out_shape=SIZE, transform=mask.transform)
    assert ((found == 1) == ((inside == 1) & (sure != 255))).all()
    assert columns[fields.index("area_px")].sum() == inside.sum()
    totals = result.report["landslides"]
    assert totals["area_m2"] == pytest.approx(columns[fields.index("area_m2")].sum())
    assert totals["area_m2_high"] == pytest.approx(columns[fields.index("area_m2_high")].sum(), abs=0.1)
    assert ((sure >= 153) & (sure < 255) & (found != 1)).sum() == 0, "what reaches 0.6 is landslide"
    assert ((found == 1) & (sure < 101)).sum() > 0, "filled holes are, too"


def test_a_set_without_levels_leaves_none_of_an_earlier_one(area: Path, tmp_path: Path) -> None:
    first = mapped(area, tmp_path)
    assert first.files["levels"].exists()
    with pytest.raises(OutputError, match="is there already, from another input, model or setting"):
        mapped(area, tmp_path, replace(SHAPED, simplify=0.5))
    kept = mapped(area, tmp_path)
    assert kept.kept
    assert "levels" in kept.files
    plain = mapped(area, tmp_path, MapOptions(overwrite=True))
    assert "levels" not in plain.files
    assert not first.files["levels"].exists()
    assert len(pyogrio.read_info(plain.files["geopackage"])["fields"]) == 8


def test_a_file_of_somebody_else_in_the_place_of_levels_is_refused(area: Path, tmp_path: Path) -> None:
    (tmp_path / "area_levels.gpkg").write_text("mine")
    with pytest.raises(OutputError, match=r"area_levels\.gpkg is there already, and no report says"):
        mapped(area, tmp_path)
    mapped(area, tmp_path, MapOptions())
    mapped(area, tmp_path, MapOptions(threshold=0.6, overwrite=True))
    assert (tmp_path / "area_levels.gpkg").read_text() == "mine"


def test_what_the_model_s_threshold_does_not_allow_is_told_before_any_work(area: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"0\.7, is above the upper one, 0\.5"):
        run(Model(NullEngine()), [area, area.parent / "none.tif"], tmp_path, options=MapOptions(low_threshold=0.7))
    with pytest.raises(OptionError, match="simplified by"):
        MapOptions(threshold=0.5, simplify=-2.0)
    assert list(tmp_path.iterdir()) == []


def test_a_video_says_that_it_has_no_levels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "flight.mp4").write_bytes(b"no video")
    with caplog.at_level(logging.WARNING, "calanddet"), pytest.raises(InputError):
        run(Model(NullEngine()), tmp_path / "flight.mp4", tmp_path / "out", options=MapOptions(levels=(0.3, 0.8)))
    assert "landslides in frames have one area" in caplog.text


def test_without_a_crs_sizes_are_pixels(tmp_path: Path) -> None:
    red = np.zeros((60, 90), np.uint8)
    red[10:40, 10:70] = 200
    red[20:22, 20:23] = red[30:34, 30:34] = 0
    write(tmp_path / "a.tif", np.stack([red] * 3), crs=None, transform=GRID)
    (result,) = run(Model(NullEngine()), tmp_path / "a.tif", tmp_path / "out", options=MapOptions(fill_holes=10.0))
    with rasterio.open(result.files["mask"]) as mask:
        assert (mask.read(1) == 1).sum() == 30 * 60 - 16
