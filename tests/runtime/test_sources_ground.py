"""Where a raster lies, how large its pixels are, and what the user is told about it."""

import json
from math import cos, pi, radians, sin, sqrt
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from rasterio.transform import Affine

from calanddet.runtime.georef import Georeference
from calanddet.runtime.gsd import ground_size
from calanddet.runtime.sources import SourceInfo, open_source
from helpers.rasters import GRID, colours, write

ROWS, COLS = 21, 34
LOCAL = 'LOCAL_CS["site",UNIT["metre",1]]'


def info(path: Path) -> SourceInfo:
    with open_source(path) as source:
        return source.info


def said(facts: SourceInfo, text: str) -> bool:
    return any(text in note for note in facts.notes)


def grid(size: float, x: float, y: float) -> Affine:
    """North up, its centre at (x, y)."""
    return Affine(size, 0.0, x - size * COLS / 2, 0.0, -size, y + size * ROWS / 2)


def size_of(crs: str, transform: Affine) -> float | None:
    return ground_size(Georeference(CRS.from_user_input(crs), transform), (ROWS, COLS))


@pytest.mark.parametrize(
    ("crs", "transform", "expected", "tolerance"),
    [
        # On the central meridian UTM shrinks by 0.9996.
        ("EPSG:32648", grid(0.25, 500000, 3500000), 0.25 / 0.9996, 1e-6),
        # Mercator stretches by 1 / cos(latitude), on a sphere; EPSG:3857 at latitude 60.
        ("EPSG:3857", grid(1.0, 0, 8399737.89), 0.5, 0.003),
        # New York in feet of the US survey, near its standard parallels.
        ("EPSG:2263", grid(2.0, 984250, 200000), 2 * 1200 / 3937, 1e-3),
        # A degree on the equator: 111319.49 m eastward, 110574.28 m northward.
        ("EPSG:4326", grid(1e-5, 103, 0), 1e-5 * sqrt(111319.4908 * 110574.2758), 1e-6),
        # NTF (Paris) in grads, 400 to the circle, on the Clarke 1880 ellipsoid.
        ("EPSG:4807", grid(1e-5, 0, 0), 0.9e-5 * sqrt(111319.4908 * 110574.2758), 1e-3),
        # The Moon is a sphere of 1737.4 km.
        ("ESRI:104903", grid(1e-4, 10, 0), 1e-4 * pi / 180 * 1737400, 1e-6),
    ],
)
def test_gsd_is_measured_on_the_ground(crs: str, transform: Affine, expected: float, tolerance: float) -> None:
    assert size_of(crs, transform) == pytest.approx(expected, rel=tolerance)


def test_gsd_is_the_root_of_a_pixel_s_area_however_it_is_turned_or_sheared() -> None:
    turn = radians(31)
    upright = size_of("EPSG:32648", Affine(0.2, 0, 500000, 0, -0.8, 3500000))
    turned = size_of(
        "EPSG:32648", Affine(0.2 * cos(turn), 0.8 * sin(turn), 500000, 0.2 * sin(turn), -0.8 * cos(turn), 3500000)
    )
    sheared = size_of("EPSG:32648", Affine(0.2, -0.5, 500000, 0, -0.8, 3500000))
    assert upright == pytest.approx(0.4 / 0.9996, rel=1e-5)
    assert turned == pytest.approx(upright, rel=1e-5)
    assert sheared == pytest.approx(upright, rel=1e-5)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32648", Affine(0, 0, 500000, 0, 0, 3500000)),
        (LOCAL, GRID),
        # Beyond the limb of the Earth, as a geostationary satellite sees it.
        ("+proj=geos +h=35785831 +lon_0=0 +sweep=y", grid(100, 6e6, 6e6)),
    ],
)
def test_gsd_is_unknown_where_there_is_no_ground(crs: str, transform: Affine) -> None:
    assert size_of(crs, transform) is None


def test_grid_and_crs_are_the_file_s(tmp_path: Path) -> None:
    turned = Affine(0.2, 0.03, 412345, 0.07, -0.25, 3567890)
    facts = info(write(tmp_path / "area.tif", colours(ROWS, COLS), transform=turned))
    assert facts.georeference.crs == CRS.from_epsg(32648)
    assert facts.georeference.transform.almost_equals(turned, 1e-6)
    assert facts.georeference.gcps == ()
    assert facts.notes == ()


def test_control_points_place_a_raster(tmp_path: Path) -> None:
    corners = [(0, 0), (0, COLS), (ROWS, 0), (ROWS, COLS)]
    points = [GroundControlPoint(row, col, GRID.c + GRID.a * col, GRID.f + GRID.e * row) for row, col in corners]
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), crs="EPSG:32648", transform=None, gcps=points)
    facts = info(path)
    assert [(p.row, p.col, p.x, p.y) for p in facts.georeference.gcps] == [(p.row, p.col, p.x, p.y) for p in points]
    assert facts.georeference.crs == CRS.from_epsg(32648)
    assert facts.gsd_m == pytest.approx(0.25, rel=1e-3)
    assert said(facts, "4 ground control points")


def test_rational_polynomials_are_not_used_and_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "area.tif", colours(ROWS, COLS), crs=None, transform=None)
    coefficients = [0.0] * 20
    rpc = RPC(100, 10, 103, 1, [1.0, *coefficients[1:]], coefficients, 5, 10, 30, 1, [1.0, *coefficients[1:]],
              coefficients, 5, 10)  # fmt: skip
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(path, "r+") as dataset:
        dataset.rpcs = rpc
    facts = info(path)
    assert facts.georeference.crs is None
    assert facts.gsd_m is None
    assert said(facts, "RPC")


@pytest.mark.parametrize("driver", ["GTiff", "PNG", "JPEG"])
def test_a_picture_without_a_place(tmp_path: Path, driver: str) -> None:
    facts = info(write(tmp_path / "area", colours(ROWS, COLS), crs=None, transform=None, driver=driver))
    assert facts.georeference.crs is None
    assert facts.georeference.transform == Affine.identity()
    assert facts.gsd_m is None
    assert said(facts, "no CRS: polygons will be in pixels")


def test_a_transform_without_crs_is_kept_for_the_outputs(tmp_path: Path) -> None:
    facts = info(write(tmp_path / "area.tif", colours(ROWS, COLS), crs=None))
    assert (facts.georeference.crs, facts.georeference.transform) == (None, GRID)
    assert facts.gsd_m is None
    assert said(facts, "no CRS")


def test_a_world_file_is_a_transform(tmp_path: Path) -> None:
    path = write(tmp_path / "area.png", colours(ROWS, COLS), driver="PNG", crs=None, transform=None)
    path.with_suffix(".pgw").write_text("0.5\n0\n0\n-0.5\n100.25\n199.75\n")
    assert info(path).georeference.transform == Affine(0.5, 0, 100, 0, -0.5, 200)


def test_a_crs_without_transform_places_nothing(tmp_path: Path) -> None:
    facts = info(write(tmp_path / "area.tif", colours(ROWS, COLS), transform=None))
    assert facts.georeference.crs is None
    assert said(facts, "a CRS but no transform")


def test_a_local_crs_is_not_the_earth(tmp_path: Path) -> None:
    facts = info(write(tmp_path / "area.tif", colours(ROWS, COLS), crs=CRS.from_wkt(LOCAL)))
    assert facts.georeference.crs is not None
    assert facts.georeference.crs.to_wkt().startswith('LOCAL_CS["site"')
    assert facts.georeference.transform == GRID
    assert facts.gsd_m is None
    assert said(facts, "not tied to the Earth: polygons will be in pixels")


def test_the_stretch_is_said(tmp_path: Path) -> None:
    facts = info(write(tmp_path / "area.tif", colours(ROWS, COLS).astype(np.uint16)))
    assert facts.stretch is not None
    assert said(facts, f"uint16 values are stretched from {facts.stretch}")


def test_identity_changes_with_the_image_and_its_mask(tmp_path: Path) -> None:
    planes, valid = colours(ROWS, COLS), np.ones((ROWS, COLS), np.bool_)
    path = write(tmp_path / "area.tif", planes)
    seen = [info(path).identity, info(path).identity]
    assert seen[0] == seen[1] == json.loads(json.dumps(seen[0]))
    assert seen[0]["bytes"] == path.stat().st_size
    assert seen[0]["mtime_ns"] == path.stat().st_mtime_ns
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(valid)
    seen.append(info(path).identity)
    assert [name for name, _, _ in seen[2]["files"]] == ["area.tif", "area.tif.msk"]
    write(path, planes + 1)
    seen.append(info(path).identity)
    assert seen[1] != seen[2] != seen[3]


def test_large_blocks_and_further_pages_are_said(tmp_path: Path) -> None:
    path = tmp_path / "area.tif"
    write(path, np.zeros((3, 1, 1 << 17), np.uint8), height=1, tiled=True, blockxsize=1 << 17, blockysize=1024,
          interleave="pixel", compress="deflate", sparse_ok=True)  # fmt: skip
    write(path, colours(5, 7), append_subdataset=True)
    facts = info(path)
    assert facts.shape == (1, 1 << 17)
    assert said(facts, "384 MiB each")
    assert said(facts, "it holds 2 images; the first is read")


def test_mercator_agrees_with_its_formula() -> None:
    latitude = 37.3
    y = 6378137 * np.log(np.tan(pi / 4 + radians(latitude) / 2))
    size = size_of("EPSG:3857", grid(0.6, 14321853, float(y)))
    assert size == pytest.approx(0.6 * cos(radians(latitude)), rel=0.004)
