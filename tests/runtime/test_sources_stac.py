"""STAC items: which file is taken for the picture, and what is no item."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources import find_inputs, open_source, remote
from calanddet.runtime.sources.stac import picture_of
from calanddet.runtime.types import Window
from helpers.rasters import BLOCKS, COLS, ROWS, assert_same, colours, holes, masked, plain, write
from helpers.servers import flaky_server, silent_server

TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"


def item(path: Path, assets: dict[str, Any], **others: Any) -> Path:
    content = {"type": "Feature", "stac_version": "1.0.0", "id": "x", "geometry": None, "assets": assets, **others}
    path.write_text(json.dumps(content))
    return path


def band(name: str) -> dict[str, str]:
    return {"name": name.upper(), "common_name": name}


@pytest.mark.parametrize(
    ("assets", "key"),
    [
        ({"B04": {"href": "b.tif"}, "visual": {"href": "./area.tif", "type": TIFF}}, "visual"),
        ({"B04": {"href": "b.tif"}, "tci": {"href": "area.tif", "roles": ["visual", "data"]}}, "tci"),
        ({"thumbnail": {"href": "t.png", "roles": ["thumbnail"]}, "data": {"href": "area.tif", "type": TIFF}}, "data"),
        ({"meta": {"href": "m.xml", "type": "application/xml"}, "image": {"href": "area.tif"}}, "image"),
    ],
)
def test_one_picture_is_taken_and_said(tmp_path: Path, assets: dict[str, Any], key: str) -> None:
    planes = colours(ROWS, COLS)
    write(tmp_path / "area.tif", planes)
    path = item(tmp_path / "S2_scene.json", assets)
    with open_source(path) as source:
        info = source.info
        pixels = source.read(Window(0, 0, ROWS, COLS))
    assert (info.name, info.path) == ("S2_scene", str(path))
    assert key in info.notes[0]
    assert info.notes[0].startswith("of the STAC item")
    np.testing.assert_array_equal(pixels.rgb, planes.transpose(1, 2, 0))
    assert [name for name, *_ in info.identity["files"]] == ["area.tif"]


@pytest.mark.parametrize(
    "bands",
    [
        {"eo:bands": [band("blue"), band("nir"), band("green"), band("red")]},
        {"bands": [{"eo:common_name": name} for name in ("blue", "nir", "green", "red")]},
    ],
)
def test_bands_are_those_that_the_item_names(tmp_path: Path, bands: dict[str, Any]) -> None:
    write(tmp_path / "area.tif", colours(ROWS, COLS, bands=4), photometric="minisblack")
    path = item(tmp_path / "scene.json", {"dem": {"href": "d.tif"}, "image": {"href": "area.tif", **bands}})
    with open_source(path) as source:
        assert source.info.bands == (4, 3, 1)
        assert "bands 4, 3 and 1 of its asset image" in source.info.notes[0]
    with open_source(path, bands=(1, 2, 3)) as source:
        assert source.info.bands == (1, 2, 3)


@pytest.mark.parametrize("rule", ["nodata", "mask", "none"])
def test_colours_in_three_files_are_one_image(tmp_path: Path, rule: str) -> None:
    planes = colours(ROWS, COLS).astype(np.uint16) * 9
    planes[:, ~holes()] = 0
    profile: dict[str, Any] = {"nodata": 0} if rule == "nodata" else {}
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 32, **profile}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        for plane, name in zip(planes, "rgb", strict=True):
            write(tmp_path / f"{name}.tif", plane[None], mask=holes() if rule == "mask" else None, **layout)
        whole = write(tmp_path / "all.tif", planes, mask=holes() if rule == "mask" else None, **layout)
    assets = {
        "B02": {"href": "b.tif", "eo:bands": [band("blue")]},
        "B03": {"href": "g.tif", "eo:bands": [band("green")]},
        "B04": {"href": "r.tif", "eo:bands": [band("red")]},
        "B08": {"href": "n.tif", "eo:bands": [band("nir")]},
    }
    with open_source(item(tmp_path / "scene.json", assets)) as source, open_source(whole) as expected:
        assert source.info.stretch == expected.info.stretch
        assert source.info.block == (32, 64)
        assert "B04, B03, B02 are mapped as red, green and blue" in source.info.notes[0]
        assert source.info.georeference.transform == expected.info.georeference.transform
        assert {name for name, *_ in source.info.identity["files"]} == {"r.tif", "g.tif", "b.tif"}
        pixels, same = (each.read(Window(0, 0, ROWS, COLS)) for each in (source, expected))
    assert_same(pixels, same.rgb, same.valid)
    assert pixels.valid.all() == (rule == "none")


def test_files_that_are_no_colours_of_one_image_are_refused(tmp_path: Path) -> None:
    for name, size in (("r", ROWS), ("g", ROWS), ("b", ROWS + 1)):
        write(tmp_path / f"{name}.tif", colours(size, COLS, bands=1))
    assets = {name: {"href": f"{name[0]}.tif", "eo:bands": [band(name)]} for name in ("red", "green", "blue")}
    with pytest.raises(InputError, match=r"b\.tif and .*r\.tif differ in size or place"):
        open_source(item(tmp_path / "scene.json", assets))


@pytest.mark.parametrize("single", [True, False])
def test_an_item_on_a_server(tmp_path: Path, single: bool) -> None:
    planes = colours(ROWS, COLS)
    folder = tmp_path / "www"
    folder.mkdir()
    if single:
        write(folder / "area.tif", planes, **BLOCKS)
        item(folder / "scene.json", {"visual": {"href": "area.tif"}})
    else:
        for plane, name in zip(planes, "rgb", strict=True):
            write(folder / f"{name}.tif", plane[None], interpretation=[ColorInterp.gray], **BLOCKS)
        assets = {name: {"href": f"./{name[0]}.tif", "eo:bands": [band(name)]} for name in ("red", "green", "blue")}
        item(folder / "scene.json", assets)
    with flaky_server(folder, share=0.1, seed=2) as server:
        url = f"{server.url}/scene.json"
        assert find_inputs([url]) == [url]
        with open_source(url) as source:
            assert source.info.name == "scene"
            assert len(source.info.identity["files"]) == (1 if single else 3)
            pixels = source.read(Window(0, 0, ROWS, COLS))
    np.testing.assert_array_equal(pixels.rgb, planes.transpose(1, 2, 0))


def test_a_mask_in_the_picture_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), mask=holes())
    planes, valid = plain(path)
    with open_source(item(tmp_path / "scene.json", {"visual": {"href": str(path)}})) as source:
        assert_same(source.read(Window(0, 0, ROWS, COLS)), masked(planes, valid), valid)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "is no STAC item but list"),
        ('{"type": "FeatureCollection", "features": []}', "is no STAC item but FeatureCollection"),
        ('{"type": "Feature", "stac_version": "1.0.0"}', "it has no image"),
        ('{"type": "Feature", "stac_version": "1.0.0", "assets": {"a": {"href": 5}, "b": 7}}', "it has no image"),
        (
            '{"type": "Feature", "stac_version": "1", "assets": {"nir": {"href": "n.tif"}, "swir": {"href": "s.tif"}}}',
            r"which of its assets is a picture in colours \(nir, swir\)",
        ),
        (
            '{"type": "Feature", "stac_version": "1.0.0", "assets": {"visual": {"href": "s3://bucket/a.tif"}}}',
            "s3://bucket/a.tif, which is not read: download it",
        ),
        (
            '{"type": "Feature", "stac_version": "1.0.0", "assets": {"visual": {"href": "gone.tif"}}}',
            r"there is no file .*gone\.tif",
        ),
    ],
)
def test_what_is_no_item_is_told(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "scene.json"
    path.write_text(content)
    with pytest.raises(InputError, match=reason):
        open_source(path)


def test_a_missing_item_and_a_silent_server_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "ANSWER_S", 0.2)
    monkeypatch.setattr(remote, "OPENING_WAITS_S", ())
    with pytest.raises(InputError, match=r"scene\.json cannot be read"):
        picture_of(tmp_path / "scene.json")
    with silent_server() as url, pytest.raises(InputError, match="does not answer"):
        picture_of(f"{url}/scene.json")


def test_a_giant_is_no_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calanddet.runtime.sources.stac.MOST_BYTES", 1000)
    path = item(tmp_path / "scene.json", {"visual": {"href": "a" * 2000}})
    with pytest.raises(InputError, match="that is no STAC item"):
        picture_of(path)
    with flaky_server(tmp_path, share=0.0) as server, pytest.raises(InputError, match="no description of an image"):
        picture_of(f"{server.url}/scene.json")
