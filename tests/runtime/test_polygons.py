"""Landslides traced band by band against whole-mask methods, and their measures against pyproj's."""

import logging
from collections import deque

import numpy as np
import pyproj
import pytest
import shapely
from numpy.typing import NDArray
from pyproj.network import is_network_enabled, set_network_enabled  # type: ignore[attr-defined]  # not in its __all__
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.features import shapes
from rasterio.transform import Affine
from shapely.geometry import Polygon, box, shape

from calanddet.runtime.georef import Georeference
from calanddet.runtime.gsd import ground_size
from calanddet.runtime.polygons import Locator, Outlines, measure, outlines
from calanddet.runtime.polygons.antimeridian import cut_at_antimeridian
from calanddet.runtime.polygons.measure import Ellipsoid, ring_areas, ring_lengths
from calanddet.runtime.polygons.regions import RegionScan
from calanddet.runtime.types import Bytes
from helpers.maps import THRESHOLD, UTM, bands, blobs, landslides_of, outlines_of, polygons_of, random_map

DENSITIES = (0.15, 0.45, 0.6, 0.75, 0.95)


def flooded(found: Bytes) -> list[tuple[int, int, int, int]]:
    """(first position, pixels, sum, largest) of every 4-connected region, by flood fill."""
    height, width = found.shape
    left = (found >= THRESHOLD) & (found < 255)
    regions = []
    for first in np.flatnonzero(left.ravel()):
        row, col = divmod(int(first), width)
        if not left[row, col]:
            continue
        left[row, col] = False
        queue, values = deque([(row, col)]), []
        while queue:
            r, c = queue.popleft()
            values.append(int(found[r, c]))
            for near in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                if 0 <= near[0] < height and 0 <= near[1] < width and left[near]:
                    left[near] = False
                    queue.append(near)
        regions.append((row * (width + 1) + col, len(values), sum(values), max(values)))
    return regions


def traced(groups: list[Outlines]) -> list[Polygon]:
    """Polygons in (col, row) of all groups."""
    return [p for g in groups for p in polygons_of(g.vertices[:, ::-1], g.ring_size.tolist(), g.rings.tolist())]


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("seed", range(6))
def test_regions_equal_a_flood_fill_whatever_the_bands(seed: int, density: float) -> None:
    found = random_map(seed, density=density)
    scan = RegionScan(found.shape[1], THRESHOLD)
    for row, band in bands(found, seed):
        scan.feed(row, band)
    scan.finish()
    records = scan.finished
    got = sorted(
        zip(records.first.tolist(), records.pixels.tolist(), records.total.tolist(), records.peak.tolist(), strict=True)
    )
    assert got == flooded(found)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("seed", range(6))
def test_polygons_equal_those_of_gdal_and_are_valid(seed: int, density: float) -> None:
    found = random_map(seed, density=density)
    mask = (found >= THRESHOLD) & (found < 255)
    expected = [shape(geometry) for geometry, _ in shapes(mask.astype(np.uint8), mask=mask, connectivity=4)]
    groups = outlines_of(found, seed=seed)
    got = traced(groups)
    assert [polygon.area for polygon in got] == [n for g in groups for n in g.pixels.tolist()]
    assert len(got) == len(expected)
    for polygon in got:
        assert polygon.is_valid, shapely.is_valid_reason(polygon)
        assert any(polygon.equals(other) for other in expected)


def test_landslides_come_in_scan_order_and_run_counter_clockwise_on_the_image() -> None:
    found = random_map(3)
    (group,) = outlines_of(found)
    first = [(int(p.exterior.coords[0][1]), int(p.exterior.coords[0][0])) for p in traced([group])]
    assert first == [divmod(position, found.shape[1] + 1) for position, *_ in flooded(found)]
    for polygon in traced([group]):
        assert not polygon.exterior.is_ccw  # as numbers, rows count downwards
        assert all(hole.is_ccw for hole in polygon.interiors)


def test_a_region_that_meets_itself_at_a_point_makes_a_valid_polygon() -> None:
    loop = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 1]], np.uint8) * 200
    assert [len(p.interiors) for p in traced(outlines_of(loop))] == [1, 0]
    around = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]], np.uint8) * 200
    (polygon,) = traced(outlines_of(around))
    assert polygon.is_valid
    assert len(polygon.interiors) == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_any_size_can_be_all_landslide(size: tuple[int, int]) -> None:
    (polygon,) = traced(outlines_of(np.full(size, 254, np.uint8)))
    assert polygon.equals(box(0, 0, size[1], size[0]))


def test_nothing_is_found_where_nothing_is() -> None:
    assert outlines_of(np.zeros((20, 30), np.uint8)) == []
    assert outlines_of(np.full((20, 30), 255, np.uint8)) == []


def same_outlines(a: list[Outlines], b: list[Outlines]) -> bool:
    """Whether two lists of groups hold the same landslides, however grouped."""
    names = ("pixels", "total", "peak", "vertices", "ring_size", "rings")
    return all(
        np.array_equal(np.concatenate([getattr(g, n) for g in a]), np.concatenate([getattr(g, n) for g in b]))
        for n in names
    )


def test_neither_bands_nor_memory_limits_change_the_outlines(monkeypatch: pytest.MonkeyPatch) -> None:
    found = random_map(11, height=90, width=67, density=0.5)
    whole = outlines_of(found, tallest=1000)
    assert len(whole) == 1
    assert same_outlines(whole, outlines_of(found, seed=1))
    monkeypatch.setattr(outlines, "MAX_CORNERS", 100)
    monkeypatch.setattr(outlines, "MAX_VERTICES", 50)
    small = outlines_of(found, seed=2)
    assert len(small) > 10
    assert all(len(g.vertices) <= 50 or len(g) == 1 for g in small)
    assert same_outlines(whole, small)


GROUNDS = {
    "utm": UTM,
    "web mercator": Georeference(CRS.from_epsg(3857), Affine(0.6, 0, 14321853.1, 0, -0.6, 4533021.5)),
    "geographic": Georeference(CRS.from_epsg(4326), Affine(3e-6, 0, 145.7, 0, -3e-6, -64.9)),
    "feet": Georeference(CRS.from_epsg(2263), Affine(1.5, 0, 981000, 0, -1.5, 199000)),
    "grads of Paris": Georeference(CRS.from_epsg(4807), Affine(1e-5, 0, 5.1, 0, -1e-5, 52.2)),
    "rotated": Georeference(CRS.from_epsg(32733), Affine(0.4, 0.3, 500100, 0.3, -0.4, 7567890)),
    "south up": Georeference(CRS.from_epsg(32719), Affine(10, 0, 500100, 0, 10, 7567890)),
    "Mars": Georeference(CRS.from_user_input("+proj=eqc +a=3396190 +b=3376200"), Affine(6, 0, 9e5, 0, -6, 3e5)),
    "Moon": Georeference(CRS.from_user_input("+proj=sinu +R=1737400"), Affine(100, 0, 1e5, 0, -100, 1.2e6)),
}


def geodesic(polygon: Polygon, georeference: Georeference) -> tuple[float, float]:
    """Area and length of all rings by pyproj, of a polygon in the raster's CRS."""
    assert georeference.crs is not None
    crs = pyproj.CRS.from_wkt(georeference.crs.to_wkt())
    geod, base = crs.get_geod(), crs.geodetic_crs
    assert geod is not None
    assert base is not None
    to_base = pyproj.Transformer.from_crs(crs, base, always_xy=True)
    to_degrees = np.degrees(base.axis_info[0].unit_conversion_factor)

    def ring(coordinates: NDArray[np.float64]) -> tuple[float, float]:
        lon, lat = to_base.transform(*coordinates.T)
        area, length = geod.polygon_area_perimeter(np.asarray(lon) * to_degrees, np.asarray(lat) * to_degrees)
        return abs(area), length

    exterior, *holes = (ring(shapely.get_coordinates(r)) for r in (polygon.exterior, *polygon.interiors))
    return exterior[0] - sum(area for area, _ in holes), exterior[1] + sum(length for _, length in holes)


@pytest.mark.parametrize("name", GROUNDS)
def test_areas_and_perimeters_are_those_of_pyproj(name: str) -> None:
    georeference = GROUNDS[name]
    found = landslides_of(random_map(5, density=0.7), georeference)
    polygons = polygons_of(found.ground, found.ring_size.tolist(), found.rings.tolist())
    expected = np.array([geodesic(polygon, georeference) for polygon in polygons])
    # pyproj's own areas scatter by some cm2 a vertex.
    np.testing.assert_allclose(found.area_m2, expected[:, 0], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(found.perimeter_m, expected[:, 1], rtol=1e-6)


@pytest.mark.parametrize("epsg", [4326, 3857, 32633, 3035])
def test_the_parts_of_a_wide_raster_add_up_to_the_whole(epsg: int) -> None:
    """A pixel's area does not depend on how much hangs on to it: long edges stay where the raster has them."""
    place = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    x, y = place.transform(13.0, 56.0)
    side = 0.25 if epsg == 4326 else 25000.0
    georeference = Georeference(CRS.from_epsg(epsg), Affine(side, 0, x, 0, -side, y))
    whole = np.full((7, 11), 200, np.uint8)
    chessboard = np.indices(whole.shape).sum(axis=0) % 2
    parts = [landslides_of(np.where(chessboard == n, whole, 0).astype(np.uint8), georeference) for n in (0, 1)]
    (area,) = landslides_of(whole, georeference).area_m2
    assert sum(part.area_m2.sum() for part in parts) == pytest.approx(area, rel=1e-5)


def test_confidence_and_centroid_are_the_pixels_own() -> None:
    found = np.zeros((6, 9), np.uint8)
    found[1:4, 2:4], found[3, 4:7] = 200, 254
    slides = landslides_of(found)
    rows, cols = np.nonzero(found)
    x, y = UTM.ground(rows.mean() + 0.5, cols.mean() + 0.5)
    lonlat = pyproj.Transformer.from_crs(32648, 4326, always_xy=True).transform(x, y)
    np.testing.assert_allclose(slides.centroid[0], lonlat, atol=1e-9)
    assert slides.confidence[0] == pytest.approx((6 * 200 + 3 * 254) / 9 / 254)
    assert slides.confidence_max[0] == 1.0
    assert slides.area_px.tolist() == [9]


def test_ground_control_points_place_polygons_too() -> None:
    points = [(0, 0), (0, 30), (20, 0), (20, 30)]
    gcps = tuple(
        GroundControlPoint(row=r, col=c, x=UTM.ground(r, c)[0].item(), y=UTM.ground(r, c)[1].item()) for r, c in points
    )
    found = random_map(8, height=20, width=30)
    by_points = landslides_of(found, Georeference(UTM.crs, gcps=gcps))
    by_transform = landslides_of(found, UTM)
    np.testing.assert_allclose(by_points.area_m2, by_transform.area_m2, rtol=1e-6)
    np.testing.assert_allclose(by_points.centroid, by_transform.centroid, atol=1e-9)


def test_without_a_crs_there_are_pixels_only() -> None:
    slides = landslides_of(random_map(2), Georeference())
    assert np.isnan(slides.area_m2).all()
    assert np.isnan(slides.centroid).all()
    np.testing.assert_array_equal(slides.degrees, slides.vertices[:, ::-1])


def test_a_crs_without_longitudes_is_said_and_gives_pixels(caplog: pytest.LogCaptureFixture) -> None:
    local = Georeference(CRS.from_wkt('LOCAL_CS["site grid",UNIT["metre",1]]'), UTM.transform)
    with caplog.at_level(logging.WARNING):
        locator = Locator(local, (20, 30))
    assert locator.body == "none"
    assert "site grid" in caplog.text


def test_a_landslide_beyond_the_limb_has_no_area() -> None:
    seen_from_space = CRS.from_user_input("+proj=geos +h=35785831 +lon_0=-75 +sweep=x +ellps=GRS80")
    disc = Georeference(seen_from_space, Affine(500000, 0, -6e6, 0, -500000, 6e6))
    found = np.zeros((24, 24), np.uint8)
    found[0, 0] = found[11, 9] = 200
    slides = landslides_of(found, disc)
    assert np.isnan(slides.area_m2).tolist() == [True, False]
    assert slides.area_m2[1] == pytest.approx(2.5e11, rel=0.1)


def test_a_landslide_around_the_pole_is_measured() -> None:
    polar = Georeference(CRS.from_epsg(3413), Affine(1000, 0, -3500, 0, -1000, 2500))
    found = np.zeros((6, 8), np.uint8)
    found[1:5, 1:7] = 200
    slides = landslides_of(found, polar)
    (polygon,) = polygons_of(slides.ground, slides.ring_size.tolist(), slides.rings.tolist())
    area, length = geodesic(polygon, polar)
    assert slides.area_m2[0] == pytest.approx(area, rel=1e-4)
    assert slides.perimeter_m[0] == pytest.approx(length, rel=1e-4)


def test_a_full_ring_of_latitude_encloses_the_cap() -> None:
    """Area of a spherical cap: 2 pi r**2 (1 - sin(lat)), its rim 2 pi r cos(lat)."""
    sphere, lon = Ellipsoid(6371000.0, 0.0), np.linspace(-np.pi, np.pi, 3600, endpoint=False)
    lat, size = np.full(3600, np.radians(80.0)), np.array([3600])
    cap = 2 * np.pi * 6371000.0**2 * (1 - np.sin(lat[0]))
    assert ring_areas(lon, lat, size, sphere)[0] == pytest.approx(cap, rel=1e-6)
    rim = 2 * np.pi * 6371000.0 * np.cos(lat[0])
    assert ring_lengths(lon, -lat, size, sphere)[0] == pytest.approx(rim, rel=1e-6)


def test_the_network_setting_of_proj_is_left_as_it_was() -> None:
    before = is_network_enabled()
    set_network_enabled(True)
    try:
        landslides_of(random_map(1), GROUNDS["feet"])
        assert is_network_enabled()
    finally:
        set_network_enabled(before)


def test_small_landslides_can_be_left_out() -> None:
    found = blobs(4, height=80, width=110)
    slides = landslides_of(found)
    limit = float(np.median(slides.area_m2))
    kept = slides.of_at_least(limit)
    assert 0 < len(kept) < len(slides)
    assert kept.area_m2.tolist() == [area for area in slides.area_m2 if area >= limit]
    assert sum(kept.ring_size) == len(kept.ground) == len(kept.degrees)
    assert len(kept.ring_size) == sum(kept.rings)
    by_pixels = landslides_of(found, Georeference()).of_at_least(5)
    assert by_pixels.area_px.min() >= 5


@pytest.mark.parametrize("meridian", [180.0, -180.0])
@pytest.mark.parametrize("angle", [0.0, 37.0, 90.0])
def test_polygons_are_cut_at_the_antimeridian(meridian: float, angle: float) -> None:
    cut = 0
    for seed in range(25):
        (group,) = outlines_of(random_map(seed, height=9, width=11, density=0.65))
        for flat in traced([group]):
            turned = shapely.affinity.rotate(shapely.geometry.polygon.orient(flat), angle, (5, 5))
            polygon = shapely.affinity.translate(turned, meridian - 5.0 - 0.5 * (seed % 2))
            rings = [shapely.get_coordinates(r)[:-1] for r in (polygon.exterior, *polygon.interiors)]
            pieces = [Polygon(piece[0], piece[1:]) for piece in cut_at_antimeridian(rings)]
            west = polygon.intersection(box(meridian - 99, -90, meridian, 90))
            east = polygon.intersection(box(meridian, -90, meridian + 99, 90))
            if meridian > 0:
                east = shapely.affinity.translate(east, -360.0)
            else:
                west = shapely.affinity.translate(west, 360.0)
            if polygon.bounds[2] <= 180.0 and polygon.bounds[0] >= -180.0:
                assert len(pieces) == 1
                continue
            cut += len(pieces) > 1
            assert all(p.is_valid and p.exterior.is_ccw for p in pieces)
            assert not any(hole.is_ccw for p in pieces for hole in p.interiors)
            expected = west.union(east)
            assert shapely.union_all(pieces).symmetric_difference(expected).area < 1e-9
            assert sum(p.area for p in pieces) == pytest.approx(expected.area, abs=1e-9)
    assert cut > 10


def test_measuring_needs_no_more_than_the_outlines() -> None:
    """The same landslide in a group of many and alone has the same measures, to the last bit."""
    (group,) = outlines_of(random_map(9, density=0.4))
    locator = Locator(UTM, (23, 31))
    together = measure(group, locator)
    for n in (0, len(group) // 2, len(group) - 1):
        rings = slice(group.first_ring[n], group.first_ring[n] + group.rings[n])
        begin = group.ring_start[rings.start]
        vertices = group.vertices[begin : begin + group.ring_size[rings].sum()]
        one = Outlines(
            group.pixels[n : n + 1],
            group.total[n : n + 1],
            group.peak[n : n + 1],
            vertices,
            group.ring_size[rings],
            group.rings[n : n + 1],
        )
        alone = measure(one, locator)
        assert alone.area_m2[0] == together.area_m2[n]
        assert alone.perimeter_m[0] == together.perimeter_m[n]


@pytest.mark.parametrize("transform", [UTM.transform, Affine(0.2, -0.5, 500000, 0, -0.8, 3500000)])
def test_the_locator_s_pixel_is_the_source_s(transform: Affine) -> None:
    place = Georeference(UTM.crs, transform)
    assert Locator(place, (20, 30)).gsd_m == ground_size(place, (20, 30))
    assert ground_size(place, (20, 30)) == pytest.approx(abs(transform.determinant) ** 0.5, rel=1e-3)
