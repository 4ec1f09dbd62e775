"""Outlines with fewer vertices: within the tolerance, valid, apart from one another, none on another side."""

from collections.abc import Sequence

import numpy as np
import pyproj
import pytest
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from shapely.geometry import Polygon

from calanddet.runtime.georef import Georeference
from calanddet.runtime.polygons import Groups, Locator, Shaping, measure, outlines
from calanddet.runtime.polygons.simplify import Lines, Simplifier
from calanddet.runtime.types import Bytes
from helpers.maps import UTM, blobs, polygons_of, random_map, traced

PIXELS = Georeference()


def drawn(groups: Groups, place: Georeference, shape: tuple[int, int], tolerance: float) -> list[Lines]:
    simplifier = Simplifier(groups, Locator(place, shape), tolerance)
    return [simplifier.lines(index) for index in range(len(groups))]


def before_and_after(
    found: Bytes, tolerance: float, place: Georeference = PIXELS
) -> tuple[list[Polygon], list[Polygon]]:
    """Polygons in pixels, (col, row), as found and as drawn."""
    was: list[Polygon] = []
    now: list[Polygon] = []
    with traced(found) as groups:
        for index, lines in enumerate(drawn(groups, place, (found.shape[0], found.shape[1]), tolerance)):
            group = groups[index]
            was += polygons_of(group.vertices[:, ::-1], group.ring_size.tolist(), group.rings.tolist())
            now += polygons_of(lines.vertices[:, ::-1], lines.ring_size.tolist(), group.rings.tolist())
    return was, now


def assert_apart(polygons: Sequence[Polygon]) -> None:
    """No polygon shares ground with another one."""
    tree = shapely.STRtree(polygons)
    one, other = tree.query(polygons, "intersects")
    pairs = [(i, j) for i, j in zip(one.tolist(), other.tolist(), strict=True) if i < j]
    assert all(polygons[i].intersection(polygons[j]).area == 0.0 for i, j in pairs)


@pytest.mark.parametrize("tolerance", [0.4, 0.8, 2.5, 40.0])
@pytest.mark.parametrize("density", [0.3, 0.6, 0.75])
def test_noise_stays_valid_apart_and_within_the_tolerance(density: float, tolerance: float) -> None:
    was, now = before_and_after(random_map(int(10 * tolerance), height=29, width=41, density=density), tolerance)
    assert len(was) == len(now) > 1
    for before, after in zip(was, now, strict=True):
        assert after.is_valid
        assert len(after.interiors) == len(before.interiors)
        assert after.exterior.is_ccw == before.exterior.is_ccw
        assert shapely.hausdorff_distance(before.boundary, after.boundary, densify=0.1) <= tolerance + 1e-9
    assert_apart(now)


@pytest.mark.parametrize(("tolerance", "share"), [(1.0, 0.2), (2.0, 0.12), (8.0, 0.07)])
def test_landslides_need_a_fraction_of_their_vertices(tolerance: float, share: float) -> None:
    was, now = before_and_after(blobs(3, height=420, width=610, cell=24), tolerance)
    before, after = (sum(len(shapely.get_coordinates(p)) for p in polygons) for polygons in (was, now))
    assert after < share * before
    assert sum(p.area for p in now) == pytest.approx(sum(p.area for p in was), rel=0.01)


def test_no_tolerance_leaves_every_corner() -> None:
    was, now = before_and_after(random_map(5, density=0.6), 0.0)
    assert all(one.equals(other) for one, other in zip(was, now, strict=True))


def test_an_island_in_a_bay_stays_outside_and_one_in_a_hole_inside() -> None:
    """A line across the mouth of the bay, or across the hole, would be within the tolerance."""
    found = np.zeros((40, 60), np.uint8)
    found[5:35, 5:55] = 200
    found[5:8, 20:30] = 0
    found[6, 24:26] = 200
    found[20:25, 20:40] = 0
    found[22, 30] = 200
    was, now = before_and_after(found, 8.0)
    assert len(now) == 3
    assert all(p.is_valid for p in now)
    assert_apart(now)
    large = max(now, key=lambda p: p.area)
    assert sorted(len(p.interiors) for p in now) == [0, 0, 1]
    for before, after in zip(was, now, strict=True):
        inside = Polygon(large.exterior).contains(after.representative_point())
        assert inside == Polygon(max(was, key=lambda p: p.area).exterior).contains(before.representative_point())


def test_points_that_outlines_share_stay_shared() -> None:
    """Steps that meet at points, as those of two landslides and of a hole and its landslide do."""
    found = np.zeros((30, 40), np.uint8)
    found[2:14, 2:14] = found[14:26, 14:26] = np.tri(12, dtype=np.uint8) * 200
    found[3:9, 25:36] = 200
    found[5, 27:30] = found[6, 30:33] = 0
    was, now = before_and_after(found, 3.0)
    corners = [{tuple(point) for point in shapely.get_coordinates(p)} for p in was]
    shared = {point for i, one in enumerate(corners) for other in corners[:i] for point in one & other}
    assert shared == {(14.0, 14.0)}
    shared.add((30.0, 6.0))
    assert sum(map(len, corners)) > sum(len(shapely.get_coordinates(p)) for p in now)
    for before, after in zip(corners, now, strict=True):
        assert shared & before <= {tuple(point) for point in shapely.get_coordinates(after)}


def test_groups_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    found = blobs(8, height=180, width=240, cell=8)
    _, together = before_and_after(found, 3.0)
    monkeypatch.setattr(outlines, "MAX_VERTICES", 400)
    _, apart = before_and_after(found, 3.0)
    with traced(found) as groups:
        assert len(groups) > 5
    assert all(one.equals(other) for one, other in zip(together, apart, strict=True))


def utm_of(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    to_utm = pyproj.Transformer.from_crs(4326, 32648, always_xy=True)
    return np.stack(to_utm.transform(degrees[:, 0], degrees[:, 1]), axis=1)


@pytest.mark.parametrize(
    "place",
    [
        UTM,
        Georeference(CRS.from_epsg(4326), Affine(6e-6, 0, 104.02, 0, -3e-6, 62.3)),
        Georeference(CRS.from_epsg(3857), Affine(0.8, 0.3, 11580000, 0.2, -0.9, 3650000)),
    ],
)
def test_the_tolerance_is_metres_on_the_ground_whatever_the_crs(place: Georeference) -> None:
    found = blobs(4, height=120, width=170)
    locator = Locator(place, (120, 170))
    with traced(found) as groups:
        (lines,) = drawn(groups, place, (120, 170), 1.5)
        exact, simple = measure(groups[0], locator), measure(groups[0], locator, lines)
    assert len(simple.vertices) < 0.3 * len(exact.vertices)
    assert (simple.area_m2 == exact.area_m2).all()
    assert (simple.area_px == exact.area_px).all()
    assert (simple.centroid == exact.centroid).all()
    assert (simple.perimeter_m <= exact.perimeter_m + 1e-6).all()
    was, now = (
        polygons_of(utm_of(found.degrees), found.ring_size.tolist(), found.rings.tolist()) for found in (exact, simple)
    )
    off = [shapely.hausdorff_distance(a.boundary, b.boundary) for a, b in zip(was, now, strict=True)]
    assert 0.9 < max(off) <= 1.5 * 1.002, "UTM's own scale is within 0.2 %"


def test_a_landslide_with_an_unknown_place_keeps_its_corners() -> None:
    seen_from_space = CRS.from_user_input("+proj=geos +h=35785831 +lon_0=-75 +sweep=x +ellps=GRS80")
    disc = Georeference(seen_from_space, Affine(250000, 0, -6e6, 0, -250000, 6e6))
    found = np.zeros((48, 48), np.uint8)
    found[0:9, 0:9] = np.tri(9, dtype=np.uint8) * 200
    found[20:29, 20:29] = np.tri(9, dtype=np.uint8) * 200
    with traced(found) as groups:
        (lines,) = drawn(groups, disc, (48, 48), 1e6)
        assert lines.ring_size[0] == groups[0].ring_size[0]
        assert lines.ring_size[1] < groups[0].ring_size[1]


def test_shaped_landslides_are_drawn_with_fewer_vertices() -> None:
    found, shaping = blobs(2, height=150, width=200), Shaping(0.5, simplify=1.0)
    with traced(found) as groups:
        (group,) = shaping.drawn(groups, Locator(UTM, (150, 200)))
        assert len(group.vertices) < 0.3 * len(groups[0].vertices)
        assert (group.area_px == groups[0].pixels).all()
