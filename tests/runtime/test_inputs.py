"""Maps of parts, mosaics and resampled rasters, from the files to the outputs, with an engine that gives back red."""

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine

from calanddet.runtime import InputError, MapOptions, OptionError, ResumeError, map_partial, run
from calanddet.runtime.camera import CameraOptions
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.frames.photo import placed
from calanddet.runtime.georef import Georeference
from calanddet.runtime.mapping import MapResult
from calanddet.runtime.model import Model
from calanddet.runtime.sources import View, open_source, viewed
from helpers.counting import bytes_read
from helpers.maps import blobs
from helpers.rasters import write
from helpers.shared import shared
from helpers.stopped import results

SHAPE = (1300, 500)
GRID = Affine(0.5, 0.0, 412000.0, 0.0, -0.5, 3567000.0)
RING = [(50.5, 120.2), (420.1, 90.7), (310.0, 1160.6), (180.2, 980.1), (50.5, 120.2)]
"""An area of interest, (col, row)."""
LAYOUT: dict[str, Any] = {"tiled": True, "blockxsize": 128, "blockysize": 96, "compress": "deflate", "nodata": 0}


@pytest.fixture
def model() -> Model:
    return Model(NullEngine(batch=4))


def image() -> NDArray[np.uint8]:
    red = blobs(3, height=SHAPE[0], width=SHAPE[1], cell=30)
    red = np.where(red == 255, 0, np.maximum(red, 1)).astype(np.uint8)
    return np.stack(
        [red, np.where(red > 0, 90, 0).astype(np.uint8), np.where(red > 0, 255 - red // 2, 0).astype(np.uint8)]
    )


def tiles(folder: Path, *, rows: int = 450, cols: int = 170, overlap: int = 20) -> Path:
    folder.mkdir()
    whole = image()
    for row in range(0, SHAPE[0], rows):
        for col in range(0, SHAPE[1], cols):
            part = whole[:, row : row + rows + overlap, col : col + cols + overlap]
            grid = Affine(0.5, 0.0, GRID.c + col * 0.5, 0.0, -0.5, GRID.f - row * 0.5)
            write(folder / f"r{row:03}c{col:03}.tif", part, transform=grid, **LAYOUT)
    return folder


def area_of_interest(path: Path) -> Path:
    x, y = Georeference(None, GRID).ground([row for _, row in RING], [col for col, _ in RING])
    shape = {"type": "Polygon", "coordinates": [list(zip(x.tolist(), y.tolist(), strict=True))]}
    crs = {"type": "name", "properties": {"name": "EPSG:32648"}}
    features = [{"type": "Feature", "properties": {}, "geometry": shape}]
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def read(result: MapResult, kind: str = "probability") -> NDArray[np.uint8]:
    with rasterio.open(result.files[kind]) as dataset:
        found: NDArray[np.uint8] = dataset.read(1)
    return found


def wanted() -> NDArray[np.bool_]:
    """Which pixels have their centre in the area of interest, by shapely."""
    x, y = np.meshgrid(np.arange(SHAPE[1]) + 0.5, np.arange(SHAPE[0]) + 0.5)
    return np.asarray(shapely.contains_xy(shapely.Polygon(RING), x, y))


def test_a_mosaic_is_mapped_as_the_raster_that_it_was_cut_from(tmp_path: Path, model: Model) -> None:
    (single,) = run(model, write(tmp_path / "tiles.tif", image(), transform=GRID, **LAYOUT), tmp_path / "one")
    (many,) = run(model, tiles(tmp_path / "tiles"), tmp_path / "many", options=MapOptions(mosaic=True))
    assert results(tmp_path / "many") == results(tmp_path / "one")
    assert many.name == single.name == "tiles"
    assert many.report["inputs"][0]["path"] == "tiles (9 files)"
    assert any("9 files are joined" in note for note in many.report["warnings"])


class Sensitive(NullEngine):
    """Each pixel depends on all of its tile: what is shown to it there shows in every result."""

    def _infer(self, tiles: NDArray[np.uint8]) -> Any:
        found = super()._infer(tiles)
        whole = (tiles.sum(axis=(1, 2, 3), dtype=np.int64) % 50).astype(np.uint8)
        np.copyto(found.probability, found.probability // 2 + whole[:, None, None])
        return found


def test_an_area_is_mapped_as_the_whole_raster_would_be(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", image(), transform=GRID, **LAYOUT)
    file = area_of_interest(tmp_path / "aoi.geojson")
    with Model(Sensitive(batch=3)) as model:
        (all_of_it,) = run(model, path, tmp_path / "whole")
        (part,) = run(model, path, tmp_path / "part", options=MapOptions(aoi=str(file)))
    assert 0.2 < wanted().mean() < 0.4
    np.testing.assert_array_equal(read(part), np.where(wanted(), read(all_of_it), 255))
    assert part.report["tiles"]["skipped"] > 0
    assert part.report["tiles"]["total"] == all_of_it.report["tiles"]["total"]
    assert any("only what lies in aoi.geojson is mapped" in note for note in part.report["warnings"])


def test_a_resampled_raster_is_mapped_on_its_grid(tmp_path: Path, model: Model) -> None:
    path = write(tmp_path / "area.tif", image(), transform=GRID, **LAYOUT)
    (result,) = run(model, path, tmp_path / "out", options=MapOptions(gsd_m=1.0))
    with rasterio.open(result.files["probability"]) as dataset:
        assert dataset.shape == (650, 250)
        assert dataset.transform == Affine(1.0, 0.0, GRID.c, 0.0, -1.0, GRID.f)
    red = image()[0].reshape(650, 2, 250, 2).astype(int)
    valid = (red > 0).sum(axis=(1, 3))
    mean = (red.sum(axis=(1, 3)) + valid // 2) // np.maximum(valid, 1)
    np.testing.assert_array_equal(read(result), np.where(valid >= 2, np.minimum(mean, 254), 255))
    record = result.report["inputs"][0]
    assert (record["width"], record["height"]) == (250, 650)
    assert record["gsd_m"] == pytest.approx(1.0, rel=2e-3)
    assert result.report["parameters"]["gsd_m"] == 1.0
    assert any("500 x 1300 pixels of 0.5 m are resampled to 250 x 650" in note for note in result.report["warnings"])


def test_all_three_together(tmp_path: Path, model: Model) -> None:
    file = area_of_interest(tmp_path / "aoi.geojson")
    options = MapOptions(mosaic=True, gsd_m=1.0, aoi=str(file), bands=("blue", "green", "red"))
    (many,) = run(model, tiles(tmp_path / "tiles"), tmp_path / "many", options=options)
    path = write(tmp_path / "tiles.tif", image()[::-1], transform=GRID, **LAYOUT)
    (one,) = run(model, path, tmp_path / "one", options=MapOptions(gsd_m=1.0, aoi=str(file)))
    np.testing.assert_array_equal(read(many), read(one))
    assert 0.2 < (read(many) != 255).mean() < 0.4


@pytest.mark.parametrize("way", ["plain", "mosaic", "gsd", "aoi"])
def test_a_run_reads_each_block_once(tmp_path: Path, model: Model, way: str) -> None:
    """Preview and all, as the kernel counts what is read; of the outputs little is, since red is even."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 1200, 1500), dtype=np.uint8)
    noise[0] = 200
    layout: dict[str, Any] = {"tiled": True, "blockxsize": 160, "blockysize": 112, "compress": "deflate"}
    folder = tmp_path / "in"
    folder.mkdir()
    if way == "mosaic":
        for row in (0, 430, 810):
            grid = Affine(0.5, 0.0, GRID.c, 0.0, -0.5, GRID.f - row * 0.5)
            write(folder / f"{row}.tif", noise[:, row : row + 390], transform=grid, **layout)
    else:
        write(folder / "area.tif", noise, transform=GRID, **layout)
    options = {
        "plain": MapOptions(),
        "mosaic": MapOptions(mosaic=True),
        "gsd": MapOptions(gsd_m=0.7),
        "aoi": MapOptions(aoi=str(area_of_interest(tmp_path / "aoi.geojson"))),
    }[way]
    size = sum(path.stat().st_size for path in folder.iterdir())
    before = bytes_read()
    run(model, folder, tmp_path / "out", options=options)
    share = (bytes_read() - before) / size
    assert share < 1.1
    assert share > (0.9 if way != "aoi" else 0.3)
    assert share < 0.8 or way != "aoi"


@pytest.mark.parametrize("options", [{"mosaic": True}, {"gsd_m": 0.6}, {"aoi": "aoi.geojson"}])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path: Path, model: Model, options: dict[str, Any]) -> None:
    tiles(tmp_path / "tiles")
    write(tmp_path / "area.tif", image(), transform=GRID, **LAYOUT)
    if "aoi" in options:
        options = {"aoi": str(area_of_interest(tmp_path / "aoi.geojson"))}
    chosen = MapOptions(save_every_s=0, **options)
    inputs = tmp_path / ("tiles" if "mosaic" in options else "area.tif")
    (whole,) = run(model, inputs, tmp_path / "whole", options=chosen)

    def stop(done: int, total: int) -> None:
        if done >= 0.75 * total:
            raise InputError("stopped")

    with pytest.raises(InputError, match="stopped"):
        run(model, inputs, tmp_path / "out", options=chosen, progress=stop)
    (partial,) = map_partial(inputs, tmp_path / "out", mosaic=chosen.mosaic)
    rows = partial.report["finished_rows"]
    assert 0 < rows < len(read(whole))
    np.testing.assert_array_equal(read(partial)[:rows], read(whole)[:rows])
    (result,) = run(model, inputs, tmp_path / "out", options=chosen)
    assert result.report["resumed"] == 1
    for path in (tmp_path / "out").glob("*_partial_*"):
        path.unlink()
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_another_area_or_scale_does_not_go_on(tmp_path: Path, model: Model) -> None:
    path = write(tmp_path / "area.tif", image(), transform=GRID, **LAYOUT)
    file = area_of_interest(tmp_path / "aoi.geojson")

    def stop(done: int, total: int) -> None:
        if done == total:
            raise InputError("stopped")

    chosen = MapOptions(save_every_s=0, aoi=str(file), gsd_m=0.5)
    with pytest.raises(InputError, match="stopped"):
        run(model, path, tmp_path / "out", options=chosen, progress=stop)
    with pytest.raises(ResumeError, match=r"gsd_m was 0\.5 and is 0\.4"):
        run(model, path, tmp_path / "out", options=MapOptions(save_every_s=0, aoi=str(file), gsd_m=0.4))
    with pytest.raises(ResumeError, match=r"aoi\.geojson is gone"):
        run(model, path, tmp_path / "out", options=MapOptions(save_every_s=0, gsd_m=0.5))


def test_a_photograph_is_resampled_too(tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture) -> None:
    """Without telemetry it has no ground size, and says so."""
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.zeros((60, 80, 3), np.uint8))
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match="ground size of its pixels is not known"):
        run(model, tmp_path / "photo.jpg", tmp_path / "out", options=MapOptions(gsd_m=0.5))


@pytest.mark.parametrize("options", [{"gsd_m": 0.5}, {"aoi": "aoi.geojson"}, {"mosaic": True}])
def test_streams_take_none_of_it(tmp_path: Path, model: Model, options: dict[str, Any]) -> None:
    (tmp_path / "flight.mp4").touch()
    with pytest.raises(OptionError, match=r"flight\.mp4 is (a video|no raster)"):
        run(model, tmp_path / "flight.mp4", tmp_path / "out", options=MapOptions(**options))


def test_options_check_themselves() -> None:
    with pytest.raises(OptionError, match="positive number of metres"):
        MapOptions(gsd_m=-1.0)
    with pytest.raises(OptionError, match="three numbers or names, not 2"):
        MapOptions(bands=("red", "green"))


def test_a_photograph_that_its_camera_places_is_resampled_where_it_is() -> None:
    path = shared("drone", "photos", "DJI_0018.JPG")
    with open_source(path) as opened:
        picture = placed(opened, path, CameraOptions())
        info = viewed(picture, View(gsd_m=0.1)).info
        assert picture.info.gsd_m is not None
        assert picture.info.gsd_m < 0.05
        assert info.gsd_m == pytest.approx(0.1, rel=3e-3)
        scale = picture.info.shape[0] / info.shape[0]
        rows, cols = np.array([0.0, 100.0, 300.0]), np.array([600.0, 50.0, 310.0])
        found = info.georeference.ground(rows, cols)
        np.testing.assert_allclose(found, picture.info.georeference.ground(rows * scale, cols * scale), atol=0.1)
        point = info.georeference.gcps[24]
        np.testing.assert_allclose(info.georeference.ground(point.row, point.col), (point.x, point.y), atol=1e-3)
        assert info.georeference.accuracy(rows, cols) is not None
