"""An area of interest: pixels by their centres against a point-in-polygon test, in any CRS, and what is read for it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from numpy.typing import ArrayLike, NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from shapely.geometry import Polygon

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.georef import Georeference
from calanddet.runtime.sources import View, open_source, viewed
from calanddet.runtime.sources.area import AreaSource, inside_area
from calanddet.runtime.sources.areafile import read_polygons
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.types import Bool, Window
from helpers.counting import CountingSource
from helpers.numbers import random_rgb
from helpers.rasters import BLOCKS, COLS, GRID, ROWS, colours, holes, write

Float = NDArray[np.float64]
RING = [(20.3, 10.2), (90.7, 5.1), (100.2, 60.9), (55.1, 40.2), (15.6, 70.3)]
"""(col, row) in a raster of ROWS x COLS."""
HOLE = [(60.2, 20.1), (80.1, 22.4), (75.3, 33.3)]
SHAPE = Polygon(RING, [HOLE])


def moved(to: Callable[[Float, Float], tuple[ArrayLike, ArrayLike]], shape: Polygon) -> Polygon:
    """A shape with `to` of its (x, y)."""
    return shapely.transform(shape, lambda points: np.stack(to(points[:, 0], points[:, 1]), axis=1))


def on_ground(shape: Polygon, crs: str = "EPSG:32648", grid: Affine = GRID) -> Polygon:
    """A shape in pixels as one on the ground, each edge of it straight in `crs`."""
    to_crs = pyproj.Transformer.from_crs("EPSG:32648", crs, always_xy=True)
    ground = Georeference(None, grid).ground
    return moved(lambda x, y: to_crs.transform(*ground(y, x)), shape)


def geojson(path: Path, *shapes: shapely.Geometry, crs: str | None = None) -> Path:
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)} for shape in shapes]
    content: dict[str, object] = {"type": "FeatureCollection", "features": features}
    if crs is not None:
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(content))
    return path


def inside(shape: Polygon, rows: int = ROWS, cols: int = COLS) -> Bool:
    """bool, (rows, cols): which pixels have their centre in a shape, by shapely."""
    x, y = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    return np.asarray(shapely.contains_xy(shape, x, y))


@pytest.fixture
def area(tmp_path: Path) -> Path:
    return write(tmp_path / "area.tif", colours(ROWS, COLS), mask=holes(), **BLOCKS)


@pytest.mark.parametrize("crs", ["EPSG:32648", "EPSG:4326", "EPSG:3857", "EPSG:32647"])
def test_pixels_are_in_by_their_centres(tmp_path: Path, area: Path, crs: str) -> None:
    file = geojson(tmp_path / "aoi.geojson", on_ground(SHAPE, crs), crs=crs)
    with open_source(area) as source:
        before = source.read(Window(0, 0, ROWS, COLS))
        view = viewed(source, View(aoi=str(file)))
        after = view.read(Window(0, 0, ROWS, COLS))
    wanted = inside(SHAPE)
    np.testing.assert_array_equal(after.valid, before.valid & wanted)
    np.testing.assert_array_equal(after.rgb[wanted], before.rgb[wanted])
    assert 0.2 < wanted.mean() < 0.6
    assert f"about {wanted.mean():.1%} of it" in view.info.notes[-1]


@pytest.mark.parametrize("driver", ["GeoJSON", "GPKG", "ESRI Shapefile", "FlatGeobuf", "KML"])
def test_formats(tmp_path: Path, area: Path, driver: str) -> None:
    suffix = {"GeoJSON": "geojson", "GPKG": "gpkg", "ESRI Shapefile": "shp", "FlatGeobuf": "fgb", "KML": "kml"}[driver]
    crs = "EPSG:4326" if driver in ("GeoJSON", "KML") else "EPSG:32648"
    geometry = np.array([shapely.to_wkb(on_ground(SHAPE, crs))])
    file = tmp_path / f"aoi.{suffix}"
    pyogrio.raw.write(file, geometry, [np.array([1])], ["n"], geometry_type="Polygon", crs=crs, driver=driver)
    with open_source(area) as source:
        pixels = inside_area(source, file).read(Window(0, 0, ROWS, COLS))
    np.testing.assert_array_equal(pixels.valid, inside(SHAPE) & holes())


def test_shapes_of_every_kind_are_gone_through(tmp_path: Path) -> None:
    apart = Polygon([(0, 0), (9, 0), (9, 9)])
    everything = shapely.GeometryCollection(
        [
            shapely.Point(1, 2),
            shapely.LineString([(0, 0), (5, 5)]),
            shapely.MultiPoint([(1, 1), (2, 2)]),
            shapely.MultiLineString([[(0, 0), (1, 1)], [(2, 2), (3, 3), (4, 5)]]),
            SHAPE,
            shapely.MultiPolygon([apart, SHAPE]),
            shapely.GeometryCollection([apart]),
        ]
    )
    found = read_polygons(geojson(tmp_path / "aoi.geojson", everything, shapely.Point(3, 4)))
    shapes = [Polygon(rings[0], rings[1:]) for rings in found.rings]
    assert [shape.equals(other) for shape, other in zip(shapes, [SHAPE, apart, SHAPE, apart], strict=True)] == [
        True
    ] * 4
    assert found.crs == "EPSG:4326"


def test_heights_are_left_out(tmp_path: Path) -> None:
    high = Polygon([(0, 0, 5), (9, 0, 6), (9, 9, 7)])
    (rings,) = read_polygons(geojson(tmp_path / "aoi.geojson", high)).rings
    assert rings[0].shape == (4, 2)


def test_long_edges_follow_the_ground(tmp_path: Path) -> None:
    """An edge that is straight in degrees is not in UTM; 40 km off the meridian it bends by pixels."""
    grid = Affine(20, 0, 300000, 0, -20, 6700000)
    ends = [(-50.0, 300.0), (2900.0, 310.0), (2900.0, 700.0), (-50.0, 690.0)]
    geographic = on_ground(Polygon(ends), "EPSG:4326", grid)
    dense = shapely.segmentize(geographic, 0.001)
    back = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32648", always_xy=True)
    inverse = Georeference(None, grid).pixels

    def to_pixels(lon: Float, lat: Float) -> tuple[Float, Float]:
        rows, cols = inverse(*back.transform(lon, lat))
        return cols, rows

    truth = inside(moved(to_pixels, dense), 900, 2800)
    assert (truth != inside(Polygon(ends), 900, 2800)).sum() > 2800
    source = ArraySource(random_rgb(0, 900, 2800), georeference=Georeference(CRS.from_epsg(32648), grid))
    found = inside_area(source, geojson(tmp_path / "aoi.geojson", geographic)).read(Window(0, 0, 900, 2800))
    assert (found.valid != truth).sum() <= 30


def test_windows_are_parts_of_the_whole(area: Path) -> None:
    with open_source(area) as source:
        view = AreaSource(source, [[np.array([*ring, ring[0]]) for ring in (RING, HOLE)]], 0)
        all_of_it = view.read(Window(0, 0, ROWS, COLS))
        rng = np.random.default_rng(1)
        for _ in range(60):
            row, col = int(rng.integers(-20, ROWS)), int(rng.integers(-20, COLS))
            part = view.read(Window(row, col, 31, 23))
            inner = np.zeros((31, 23), np.bool_)
            top, left = max(-row, 0), max(-col, 0)
            crop = all_of_it.valid[max(row, 0) : row + 31, max(col, 0) : col + 23]
            inner[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
            np.testing.assert_array_equal(part.valid, inner)


def test_colours_around_are_given_as_far_as_a_tile_reaches() -> None:
    rgb = random_rgb(4, 90, 120)
    view = AreaSource(ArraySource(rgb), [[np.array([(60.0, 40.0), (70, 40), (70, 50), (60, 50), (60, 40)])]], 16)
    pixels = view.read(Window(0, 0, 90, 120))
    assert pixels.context
    assert pixels.valid.sum() == 100
    np.testing.assert_array_equal(pixels.rgb[24:66, 44:86], rgb[24:66, 44:86])
    above = view.read(Window(0, 0, 30, 120))
    assert not above.valid.any()
    np.testing.assert_array_equal(above.rgb[24:30, 44:86], rgb[24:30, 44:86])
    assert not view.read(Window(0, 0, 20, 120)).rgb.any()


def test_what_is_far_from_the_area_is_not_read() -> None:
    array = ArraySource(random_rgb(4, 400, 600))
    object.__setattr__(array.info, "block", (32, 32))
    counting = CountingSource(array)
    view = AreaSource(counting, [[np.array([(100.0, 100), (130, 100), (130, 130), (100, 130), (100, 100)])]], 32)
    for row in range(0, 400, 32):
        view.read(Window(row, 0, 32, 600))
    read = np.argwhere(counting.blocks)
    assert read.min(axis=0).tolist() == [2, 2]
    assert read.max(axis=0).tolist() == [5, 5]
    assert counting.blocks.max() == 1


def test_it_is_drawn_on_the_resampled_grid(tmp_path: Path, area: Path) -> None:
    file = geojson(tmp_path / "aoi.geojson", on_ground(SHAPE), crs="EPSG:32648")
    with open_source(area) as source:
        view = viewed(source, View(gsd_m=0.5, aoi=str(file)))
        plain = viewed(source, View(gsd_m=0.5))
        rows, cols = view.info.shape
        half = moved(lambda x, y: (x / 2, y / 2), SHAPE)
        expected = inside(half, rows, cols) & plain.read(Window(0, 0, rows, cols)).valid
        np.testing.assert_array_equal(view.read(Window(0, 0, rows, cols)).valid, expected)
        assert view.thumbnail(30).valid.any()
        assert not view.thumbnail(30).valid.all()


def test_the_file_is_part_of_what_the_input_is(tmp_path: Path, area: Path) -> None:
    file = geojson(tmp_path / "aoi.geojson", on_ground(SHAPE), crs="EPSG:32648")
    with open_source(area) as source:
        names = [name for name, *_ in inside_area(source, file).info.identity["files"]]
    assert names == ["area.tif", "aoi.geojson"]


def test_an_area_elsewhere_is_refused(tmp_path: Path, area: Path) -> None:
    far = shapely.affinity.translate(on_ground(SHAPE), 5000, 0)
    file = geojson(tmp_path / "aoi.geojson", far, crs="EPSG:32648")
    with (
        open_source(area) as source,
        pytest.raises(InputError, match=r"aoi\.geojson lies outside .*area\.tif \(columns 20,016 to 20,100 and rows 5"),
    ):
        inside_area(source, file)


def test_what_is_no_area_is_refused(tmp_path: Path, area: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("north of the river")
    empty = geojson(tmp_path / "empty.geojson")
    points = geojson(tmp_path / "points.geojson", shapely.Point(103, 32))
    pole = geojson(tmp_path / "pole.geojson", Polygon([(0, 95), (10, 95), (10, 99)]))
    with open_source(area) as source:
        for file, reason in (
            (tmp_path / "none.geojson", "there is no file"),
            (text, "cannot be read as GeoJSON"),
            (empty, "has no polygon"),
            (points, "has no polygon"),
            (pole, "has no places"),
        ):
            with pytest.raises(InputError, match=reason):
                inside_area(source, file)


def test_a_raster_or_an_area_without_crs_is_refused(tmp_path: Path, area: Path) -> None:
    file = tmp_path / "aoi.gpkg"
    with pytest.warns(UserWarning, match="crs"):
        pyogrio.raw.write(file, np.array([shapely.to_wkb(SHAPE)]), [], [], geometry_type="Polygon", driver="GPKG")
    with open_source(area) as source, pytest.raises(InputError, match="does not say its CRS"):
        inside_area(source, file)
    bare = write(tmp_path / "bare.tif", colours(20, 30), crs=None)
    with open_source(bare) as source, pytest.raises(InputError, match=r"bare\.tif has no CRS"):
        inside_area(source, geojson(tmp_path / "aoi.geojson", SHAPE))


def test_layers_in_two_crss_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "aoi.gpkg"
    for layer, crs in (("a", "EPSG:32648"), ("b", "EPSG:4326")):
        geometry = np.array([shapely.to_wkb(SHAPE)])
        pyogrio.raw.write(
            file, geometry, [], [], layer=layer, geometry_type="Polygon", crs=crs, driver="GPKG", append=layer == "b"
        )
    with pytest.raises(InputError, match="in 2 CRSs"):
        read_polygons(file)


def test_a_view_checks_itself() -> None:
    with pytest.raises(OptionError, match="positive number of metres"):
        View(gsd_m=0.0)
