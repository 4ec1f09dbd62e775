"""One layer for the landslides of many maps: each image once, old or new at any moment, in WGS 84."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from pyogrio import raw
from rasterio.crs import CRS
from rasterio.transform import Affine

from calanddet.runtime import MapOptions, MapResult, OptionError, OutputError, append_landslides, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.georef import Georeference
from calanddet.runtime.model import Model
from calanddet.runtime.polygons import Locator
from calanddet.runtime.sinks import joined
from calanddet.runtime.sinks.geojson import GeoJsonSink
from calanddet.runtime.sinks.geopackage import GeoPackageSink
from calanddet.runtime.sinks.joined import Part, join_layers, refuse_foreign_layer
from calanddet.runtime.sinks.lock import RunLock
from helpers.maps import UTM, blobs, landslides_of, random_map
from helpers.rasters import write
from helpers.vector import fill

Rows = list[dict[str, Any]]


def layer(path: Path) -> tuple[Rows, Any]:
    """Rows of the joined layer, and its geometries."""
    meta, _, geometry, columns = raw.read(path, layer="landslides")
    assert meta["crs"] == "EPSG:4326"
    rows = [dict(zip(meta["fields"], row, strict=True)) for row in zip(*columns, strict=True)]
    return rows, shapely.from_wkb(geometry)


def mapped(folder: Path, name: str, seed: int, crs: str | None = "EPSG:32648", **options: Any) -> MapResult:
    source = folder / f"{name}.tif"
    if not source.exists():
        planes = np.repeat(blobs(seed, height=120, width=150)[None], 3, axis=0)
        place = UTM.transform if crs != "EPSG:4326" else Affine(5e-6, 0, 104.02, 0, -4e-6, 31.3)
        write(source, planes, crs=crs, transform=place)
    (result,) = run(Model(NullEngine()), source, folder / "out", options=MapOptions(**options))
    return result


def test_the_landslides_of_all_maps_are_in_one_layer(tmp_path: Path) -> None:
    results = [mapped(tmp_path, "north", 3), mapped(tmp_path, "south", 4, "EPSG:4326")]
    path = tmp_path / "all.gpkg"
    added = append_landslides(results, path)
    assert list(tmp_path.rglob("*.xml")) == []
    rows, shapes = layer(path)
    assert added == len(rows) == sum(result.report["landslides"]["count"] for result in results) > 5
    assert {(row["map"], row["input"]) for row in rows} == {
        (name, str((tmp_path / f"{name}.tif").resolve())) for name in ("north", "south")
    }
    told = []
    for result in results:
        meta, _, geometry, columns = raw.read(result.files["geojson"])
        told += list(shapely.from_wkb(geometry))
        area = columns[list(meta["fields"]).index("area_m2")]
        np.testing.assert_allclose([row["area_m2"] for row in rows if row["map"] == result.name], area)
    assert all(shape.geom_type == "MultiPolygon" and shape.is_valid for shape in shapes)
    for one, other in zip(shapes, told, strict=True):
        assert shapely.hausdorff_distance(one, other) < 2e-7, "the GeoJSON is rounded"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["all.gpkg", "north.tif", "out", "south.tif"]


def test_a_map_that_was_made_anew_replaces_its_landslides_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "all.gpkg"
    first = [mapped(tmp_path, "north", 3), mapped(tmp_path, "south", 4)]
    append_landslides(first, path)
    append_landslides(first, path)
    before, _ = layer(path)
    assert len(before) == sum(result.report["landslides"]["count"] for result in first)
    again = mapped(tmp_path, "north", 3, overwrite=True, min_area=60.0, levels=(0.3, 0.8))
    assert append_landslides([again], path) == again.report["landslides"]["count"]
    rows, _ = layer(path)
    south = [row for row in rows if row["map"] == "south"]
    assert [row["area_m2"] for row in south] == [row["area_m2"] for row in before if row["map"] == "south"]
    assert all(np.isnan(row["area_m2_high"]) for row in south)
    assert all(row["area_m2_high"] >= row["area_m2"] >= 60.0 for row in rows if row["map"] == "north")


def test_an_image_is_known_by_its_address(tmp_path: Path) -> None:
    result = mapped(tmp_path, "north", 3)
    told = [str(tmp_path / "north.tif"), "https://maps.example/north.tif", "north (2 files)"]
    found = []
    for path in told:
        result.report["inputs"][0]["path"] = path
        append_landslides([result], tmp_path / "all.gpkg")
        rows, _ = layer(tmp_path / "all.gpkg")
        found.append(rows[-1]["input"])
    folder = (tmp_path / "out").resolve()
    assert found == [str(Path(told[0]).resolve()), told[1], f"north (2 files), mapped in {folder}"]
    assert {row["input"] for row in rows} == {found[-1]}, "it is one map"


def test_two_maps_of_one_image_or_of_one_name_are_two(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, source = tmp_path / "all.gpkg", tmp_path / "DJI_0001.tif"
    counts = []
    for day, seed in (("today", 3), ("tomorrow", 4)):
        planes = np.repeat(blobs(seed, height=120, width=150)[None], 3, axis=0)
        source.unlink(missing_ok=True)
        write(source, planes, crs="EPSG:32648", transform=UTM.transform)
        (result,) = run(Model(NullEngine()), source, tmp_path / day)
        counts.append(append_landslides([result], path))
    rows, _ = layer(path)
    files = [str((tmp_path / day / "DJI_0001_landslides.gpkg").resolve()) for day in ("today", "tomorrow")]
    assert [sum(row["map_file"] == file for row in rows) for file in files] == counts
    assert min(counts) > 0
    assert "replaced" not in caplog.text
    append_landslides([result], path)
    assert f"{counts[1]:,} landslides of the same maps are replaced" in caplog.text
    assert len(layer(path)[0]) == sum(counts)


def test_a_layer_is_called_gpkg(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"not in all\.shp: name a \.gpkg"):
        refuse_foreign_layer(tmp_path / "all.shp")


def test_large_layers_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = mapped(tmp_path, "north", 3)
    append_landslides([result], tmp_path / "whole.gpkg")
    monkeypatch.setattr(joined, "AT_ONCE", 3)
    append_landslides([result], tmp_path / "parts.gpkg")
    append_landslides([mapped(tmp_path, "south", 4)], tmp_path / "parts.gpkg")
    whole, _ = layer(tmp_path / "whole.gpkg")
    parts, _ = layer(tmp_path / "parts.gpkg")
    assert parts[: len(whole)] == whole
    assert len(whole) > 4


def part(folder: Path, name: str, place: Georeference, seed: int = 1) -> Part:
    path = folder / f"{name}_landslides.gpkg"
    found = landslides_of(random_map(seed, density=0.5), place)
    fill(GeoPackageSink(path, Locator(place, (23, 31)), {}), found)
    return Part(path, f"/in/{name}.tif", name)


def test_a_landslide_across_the_antimeridian_is_cut(tmp_path: Path) -> None:
    fiji = Georeference(CRS.from_epsg(32701), Affine(20, 0, 179950, 0, -20, 8140400))
    found = np.zeros((23, 31), np.uint8)
    found[4:19, 1:24] = 200
    found[8:11, 5:20] = 0
    slides, sinks = landslides_of(found, fiji), Locator(fiji, (23, 31))
    fill(GeoPackageSink(tmp_path / "f.gpkg", sinks, {}), slides)
    fill(GeoJsonSink(tmp_path / "f.geojson", sinks, {}), slides)
    assert join_layers(tmp_path / "all.gpkg", [Part(tmp_path / "f.gpkg", "f.tif", "f")]) == 1
    _, (shape,) = layer(tmp_path / "all.gpkg")
    assert len(shape.geoms) > 1
    assert shape.is_valid
    assert all(abs(edge) <= 180.0 for edge in shape.bounds)
    (told,) = shapely.from_wkb(raw.read(tmp_path / "f.geojson")[2])
    assert shape.symmetric_difference(told).area < 1e-4 * told.area


def test_what_has_no_place_on_the_earth_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    moon = Georeference(CRS.from_proj4("+proj=eqc +R=1737400 +units=m"), Affine(50, 0, 0, 0, -50, 0))
    nowhere = part(tmp_path, "nowhere", Georeference())
    added = join_layers(tmp_path / "all.gpkg", [nowhere, part(tmp_path, "moon", moon), part(tmp_path, "here", UTM)])
    rows, _ = layer(tmp_path / "all.gpkg")
    assert len(rows) == added > 0
    assert {row["map"] for row in rows} == {"here"}
    assert sum("no place on the Earth" in message for message in caplog.messages) == 2
    assert join_layers(tmp_path / "none.gpkg", [nowhere]) == 0
    assert layer(tmp_path / "none.gpkg")[0] == []


def test_a_file_of_somebody_else_is_refused_and_stays(tmp_path: Path) -> None:
    other = part(tmp_path, "other", UTM)
    for foreign in (other.geopackage, tmp_path / "notes.gpkg"):
        if not foreign.exists():
            foreign.write_text("mine")
        before = foreign.read_bytes()
        with pytest.raises(OutputError, match="no layer of joined landslides: give another name"):
            join_layers(foreign, [other])
        assert foreign.read_bytes() == before
    refuse_foreign_layer(tmp_path / "nothing.gpkg")


def test_a_layer_is_the_old_or_the_new_one_whenever_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, one, other = tmp_path / "all.gpkg", part(tmp_path, "one", UTM), part(tmp_path, "other", UTM, seed=2)
    join_layers(path, [one])
    before = path.read_bytes()
    for left in (".all.partial.gpkg", ".all.partial.gpkg-journal"):
        (tmp_path / left).write_bytes(b"left by a process that was killed")

    def broken(file: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(joined, "to_disk", broken)
        with pytest.raises(OutputError, match="disk is full"):
            join_layers(path, [other])
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir() if "all" in file.name) == ["all.gpkg"]
    join_layers(path, [other])
    assert len(layer(path)[0]) > len(pyogrio.raw.read(one.geopackage)[2])


def test_a_map_that_is_gone_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    one = part(tmp_path, "one", UTM)
    join_layers(tmp_path / "all.gpkg", [one])
    before = (tmp_path / "all.gpkg").read_bytes()
    gone = Part(tmp_path / "gone.gpkg", "/in/gone.tif", "gone")
    with pytest.raises(OutputError, match=r"gone\.gpkg cannot be read: map /in/gone\.tif again"):
        join_layers(tmp_path / "all.gpkg", [one, gone])
    assert (tmp_path / "all.gpkg").read_bytes() == before


def test_two_runs_do_not_add_at_a_time(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / ".all.gpkg.lock")
    with pytest.raises(OutputError, match=f"another run .process {os.getpid()}"):
        join_layers(tmp_path / "all.gpkg", [part(tmp_path, "one", UTM)])
    lock.close()


def test_the_same_maps_make_the_same_bytes(tmp_path: Path) -> None:
    parts = [part(tmp_path, "one", UTM), part(tmp_path, "two", UTM, seed=5)]
    for name in ("a", "b"):
        join_layers(tmp_path / f"{name}.gpkg", parts)
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()
