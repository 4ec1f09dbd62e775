"""Landslides in files: GeoJSON by the letter of RFC 7946, GeoPackage by what pyogrio reads back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from numpy.typing import NDArray
from pyogrio import raw
from rasterio.crs import CRS
from rasterio.transform import Affine
from shapely.geometry import Polygon, shape

from calanddet.runtime.georef import Georeference
from calanddet.runtime.polygons import Landslides, Locator, measure
from calanddet.runtime.sinks.attributes import FIELDS, attributes
from calanddet.runtime.sinks.coordinates import closed, counter_clockwise, decimals_for, position_text
from calanddet.runtime.sinks.geojson import GeoJsonSink
from calanddet.runtime.sinks.geopackage import GeoPackageSink
from helpers.maps import UTM, blobs, landslides_of, outlines_of, polygons_of, random_map
from helpers.vector import fill

ABOUT = {"model_sha256": "ab" * 32, "precision": "int8"}
SIZE = (23, 31)
FIJI = Georeference(CRS.from_epsg(32701), Affine(20, 0, 179950, 0, -20, 8140400))
"""UTM zone 1 south, over the island of Taveuni, which the antimeridian crosses."""


def written(path: Path, found: Landslides | None, georeference: Georeference = UTM, *, chunks: int = 1) -> Path:
    """A file of either kind, by its suffix, written in `chunks` groups."""
    kind = GeoJsonSink if path.suffix == ".geojson" else GeoPackageSink
    sink = kind(path, Locator(georeference, SIZE), ABOUT)
    fill(sink, found, chunks=chunks)
    return path


def geojson(folder: Path, found: Landslides | None, georeference: Georeference = UTM) -> Any:
    return json.loads(written(folder / "area_landslides.geojson", found, georeference).read_text("utf-8"))


def ring_is_ccw(ring: list[list[float]]) -> bool:
    x, y = np.array(ring).T
    return bool((x[:-1] * y[1:] - x[1:] * y[:-1] - (x[1:] - x[:-1]) * y[0]).sum() > 0)


def nodes(polygon: Polygon) -> NDArray[np.float64]:
    """Vertices without order."""
    return np.unique(shapely.get_coordinates(polygon), axis=0)


@pytest.mark.parametrize("south_up", [False, True])
def test_geojson_is_rfc_7946(tmp_path: Path, south_up: bool) -> None:
    place = Georeference(UTM.crs, Affine(0.5, 0, 412345.0, 0, 0.5, 3567890.0)) if south_up else UTM
    found = landslides_of(random_map(4, density=0.7), place)
    assert (found.rings > 1).any()
    content = geojson(tmp_path, found, place)
    assert list(content) == ["type", "name", "calanddet", "features", "bbox"]
    assert content["calanddet"]["model_sha256"] == ABOUT["model_sha256"]
    assert content["calanddet"]["precision"] == "int8"
    assert len(content["features"]) == len(found)
    positions = []
    for number, feature in enumerate(content["features"], 1):
        assert feature["type"] == "Feature"
        assert feature["id"] == feature["properties"]["id"] == number
        assert tuple(feature["properties"]) == FIELDS
        assert feature["geometry"]["type"] == "Polygon"
        exterior, *holes = feature["geometry"]["coordinates"]
        assert ring_is_ccw(exterior)
        assert not any(map(ring_is_ccw, holes))
        assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in (exterior, *holes))
        assert shape(feature["geometry"]).is_valid
        positions += exterior
    low, high = np.min(positions, axis=0), np.max(positions, axis=0)
    assert content["bbox"] == [*low, *high]


def test_geojson_lies_within_a_centimetre_of_the_pixels(tmp_path: Path) -> None:
    found = landslides_of(random_map(4))
    to_utm = pyproj.Transformer.from_crs(4326, 32648, always_xy=True)
    expected = polygons_of(found.ground, found.ring_size.tolist(), found.rings.tolist())
    for feature, polygon in zip(geojson(tmp_path, found)["features"], expected, strict=True):
        back = shapely.transform(shape(feature["geometry"]), lambda p: np.stack(to_utm.transform(*p.T), axis=1))
        assert shapely.hausdorff_distance(back, polygon) < 0.01
        assert feature["properties"]["area_m2"] == pytest.approx(polygon.area, rel=2e-3)


def test_geojson_is_read_by_gdal(tmp_path: Path) -> None:
    found = landslides_of(random_map(4))
    path = written(tmp_path / "area_landslides.geojson", found)
    meta, _, geometry, columns = raw.read(path)
    assert meta["crs"] == "EPSG:4326"
    assert list(meta["fields"]) == list(FIELDS)
    assert len(geometry) == len(found)
    np.testing.assert_allclose(columns[1], found.area_m2, atol=1e-6)


def test_geopackage_holds_what_was_found_in_the_rasters_crs(tmp_path: Path) -> None:
    found = landslides_of(random_map(4, density=0.7))
    path = written(tmp_path / "area_landslides.gpkg", found, chunks=3)
    meta, _, geometry, columns = raw.read(path)
    assert meta["crs"] == "EPSG:32648"
    assert list(meta["fields"]) == list(FIELDS)
    for values, expected in zip(columns, attributes(found, 1).values(), strict=True):
        np.testing.assert_array_equal(values, expected)
    polygons = polygons_of(found.ground, found.ring_size.tolist(), found.rings.tolist())
    for polygon, expected in zip(shapely.from_wkb(geometry), polygons, strict=True):
        assert polygon.is_valid
        assert polygon.equals(expected)
        assert len(polygon.interiors) == len(expected.interiors)
    info = pyogrio.read_info(path)
    assert info["layer_name"] == "area_landslides"
    assert info["geometry_type"] == "Polygon"
    assert ABOUT.items() <= info["dataset_metadata"].items()
    assert ABOUT.items() <= info["layer_metadata"].items()


@pytest.mark.parametrize("name", ["area_landslides.geojson", "area_landslides.gpkg"])
def test_the_same_landslides_are_the_same_bytes(tmp_path: Path, name: str) -> None:
    found = landslides_of(blobs(3, height=60, width=90))
    first, second = (tmp_path / folder / name for folder in "ab")
    for path in (first, second):
        path.parent.mkdir()
        written(path, found, chunks=2)
    assert first.read_bytes() == second.read_bytes()
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None


def test_geojson_does_not_depend_on_the_groups(tmp_path: Path) -> None:
    found = landslides_of(blobs(3, height=60, width=90))
    path = tmp_path / "area_landslides.geojson"
    assert written(path, found).read_bytes() == written(path, found, chunks=4).read_bytes()


@pytest.mark.parametrize("georeference", [UTM, Georeference()])
def test_no_landslide_makes_valid_files_with_the_schema(tmp_path: Path, georeference: Georeference) -> None:
    content = geojson(tmp_path, None, georeference)
    assert content["features"] == []
    assert "bbox" not in content
    path = written(tmp_path / "area_landslides.gpkg", None, georeference)
    info = pyogrio.read_info(path)
    assert list(info["fields"]) == list(FIELDS)
    assert info["features"] == 0
    assert info["geometry_type"] == "Polygon"
    assert info["dtypes"].tolist() == ["int64", "float64", "int64"] + ["float64"] * 5


def test_without_a_crs_both_are_in_pixels(tmp_path: Path) -> None:
    found = landslides_of(random_map(4), Georeference())
    content = geojson(tmp_path, found, Georeference())
    assert content["crs"] is None
    assert "pixels" in content["calanddet"]["coordinates"]
    meta, _, geometry, columns = raw.read(written(tmp_path / "area_landslides.gpkg", found, Georeference()))
    assert meta["crs"] is None or "Undefined" in meta["crs"]  # the latter before GDAL 3.9
    pixels = polygons_of(found.vertices[:, ::-1], found.ring_size.tolist(), found.rings.tolist())
    for feature, wkb, expected in zip(content["features"], geometry, pixels, strict=True):
        assert shape(feature["geometry"]).equals(expected)
        assert shapely.from_wkb(wkb).equals(expected)
        assert feature["properties"]["area_m2"] is None
        assert feature["properties"]["centroid_lon"] is None
        assert feature["properties"]["area_px"] == expected.area
    assert np.isnan(columns[1]).all()


def test_another_body_keeps_its_own_longitudes(tmp_path: Path) -> None:
    moon = Georeference(CRS.from_user_input("+proj=sinu +R=1737400"), Affine(100, 0, 1e5, 0, -100, 1.2e6))
    found = landslides_of(random_map(4), moon)
    content = geojson(tmp_path, found, moon)
    assert content["crs"] is None
    assert "not of the Earth" in content["calanddet"]["coordinates"]
    corner = content["features"][0]["geometry"]["coordinates"][0][0]
    lat = np.degrees(found.ground[0, 1] / 1737400)
    assert corner[1] == pytest.approx(lat, abs=1e-6)
    assert corner[0] == pytest.approx(np.degrees(found.ground[0, 0] / 1737400 / np.cos(np.radians(lat))), abs=1e-6)
    assert content["features"][0]["properties"]["area_m2"] == pytest.approx(found.area_m2[0])
    info = pyogrio.read_info(written(tmp_path / "area_landslides.gpkg", found, moon))
    ellipsoid = pyproj.CRS.from_user_input(info["crs"]).ellipsoid
    assert ellipsoid is not None
    assert ellipsoid.semi_major_metre == 1737400


def test_a_landslide_across_the_antimeridian_is_cut_and_one_beyond_it_is_not(tmp_path: Path) -> None:
    found = np.zeros(SIZE, np.uint8)
    found[4:19, 1:24] = 200
    found[8:11, 5:20] = 0
    found[21, 2] = found[21, 28] = 200
    slides = landslides_of(found, FIJI)
    content = geojson(tmp_path, slides, FIJI)
    cut, *whole = content["features"]
    assert cut["geometry"]["type"] == "MultiPolygon"
    assert [f["geometry"]["type"] for f in whole] == ["Polygon", "Polygon"]
    pieces = shapely.geometry.shape(cut["geometry"])
    assert pieces.is_valid
    west, south, east, north = content["bbox"]
    assert west > 179.9
    assert east < -179.9
    assert south < north < 0
    lon = np.array([corner[0] for piece in cut["geometry"]["coordinates"] for ring in piece for corner in ring])
    assert np.abs(lon).max() <= 180.0
    assert (np.abs(lon) == 180.0).sum() >= 4
    joined = shapely.union_all([shapely.affinity.translate(p, 360.0 * (p.bounds[0] < 0)) for p in pieces.geoms])
    expected = polygons_of(slides.degrees, slides.ring_size.tolist(), slides.rings.tolist())[0]
    expected = shapely.affinity.translate(expected, 360.0 * (expected.bounds[0] < 0))
    assert joined.symmetric_difference(expected).area < 1e-3 * expected.area


def test_a_landslide_without_longitudes_has_no_geometry(tmp_path: Path) -> None:
    seen_from_space = CRS.from_user_input("+proj=geos +h=35785831 +lon_0=-75 +sweep=x +ellps=GRS80")
    disc = Georeference(seen_from_space, Affine(500000, 0, -6e6, 0, -500000, 6e6))
    found = np.zeros((24, 24), np.uint8)
    found[0, 0] = found[11, 9] = 200
    content = geojson(tmp_path, landslides_of(found, disc), disc)
    assert content["features"][0]["geometry"] is None
    assert content["features"][0]["properties"]["area_m2"] is None
    assert content["features"][1]["geometry"]["type"] == "Polygon"
    assert all(abs(edge) < 180 for edge in content["bbox"])


def test_fine_pixels_stay_apart_in_geojson(tmp_path: Path) -> None:
    fine = Georeference(CRS.from_epsg(32648), Affine(0.004, 0.002, 412345.0, 0.002, -0.004, 3567890.0))
    features = geojson(tmp_path, landslides_of(random_map(6, density=0.6), fine), fine)["features"]
    polygons = [shape(feature["geometry"]) for feature in features]
    pixels = np.array([feature["properties"]["area_px"] for feature in features])
    areas = np.array([polygon.area for polygon in polygons])
    assert all(polygon.is_valid for polygon in polygons)
    np.testing.assert_allclose(areas / areas.sum(), pixels / pixels.sum(), rtol=0.15)


@pytest.mark.parametrize("decimals", [0, 1, 7, 9])
def test_numbers_are_written_as_python_writes_them(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    points = np.concatenate([rng.uniform(-180, 180, (300, 2)), rng.uniform(-0.01, 0.01, (50, 2)), [[-0.0, 180.0]]])
    points = np.round(points, decimals) + 0.0
    text = position_text(points, decimals)
    for row, (x, y) in zip(text, points.tolist(), strict=True):
        assert json.loads(row.tobytes().rstrip(b",")) == pytest.approx([x, y], abs=1e-12)
        assert row.tobytes().replace(b" ", b"").decode() == f"[{x:.{decimals}f},{y:.{decimals}f}],".replace(
            "-0.,", "0.,"
        )


@pytest.mark.parametrize(("gsd_m", "decimals"), [(None, 7), (10.0, 7), (0.2, 7), (0.025, 8), (0.002, 9)])
def test_decimals_follow_the_pixel(gsd_m: float | None, decimals: int) -> None:
    assert decimals_for(gsd_m) == decimals


def test_rings_are_closed_and_turned() -> None:
    points = np.array([[0, 0], [2, 0], [2, 1], [5, 5], [5, 6], [6, 6], [6, 5]], np.float64)
    size = np.array([3, 4])
    assert counter_clockwise(points, size).tolist() == [True, False]
    index, length = closed(size, np.array([False, True]))
    assert length.tolist() == [4, 5]
    assert index.tolist() == [0, 1, 2, 0, 3, 6, 5, 4, 3]


def test_every_landslide_has_its_columns() -> None:
    (group,) = outlines_of(random_map(1))
    found = measure(group, Locator(UTM, SIZE))
    columns = attributes(found, 7)
    assert tuple(columns) == FIELDS
    assert columns["id"].tolist() == list(range(7, 7 + len(found)))
    assert all(0.49 < value <= 1 for value in columns["confidence"])
    assert (columns["confidence_max"] >= columns["confidence"]).all()
