"""From pixels to the ground: against formulas, a ray that is followed by hand, and made cameras with made errors."""

from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import CRS, Geod

from calanddet.benchmarks.georeferencing import PLACE, trials, write_dem
from calanddet.runtime.camera import CameraGeoreference, CameraOptions, Dem, Level, LocalFrame, Pinhole, Pose, Sight
from calanddet.runtime.camera.pose import Uncertainty
from calanddet.runtime.camera.spread import ONE_SIGMA, radius_of
from calanddet.runtime.errors import InputError, OptionError

LENS = Pinhole((300, 400), 320.0)


def pose(height: float = 100.0, yaw: float = 30.0, pitch: float = -70.0, roll: float = 0.0) -> Pose:
    return Pose(*PLACE, height, yaw, pitch, roll)


def turn(axis: int, degrees: float) -> NDArray[np.float64]:
    """OpenCV's rotation about an axis, float64, (3, 3)."""
    return np.asarray(cv2.Rodrigues(np.eye(3)[axis] * np.radians(degrees))[0], np.float64)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, -90, 0), (123, -35, 0), (-200, -60, 17), (48, 5, -120)])
def test_rotation_is_that_of_the_angles_in_order(yaw: float, pitch: float, roll: float) -> None:
    """Turned about up, then the right, then the view, from a level camera that looks north."""
    level = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    turned = turn(2, -yaw) @ turn(0, pitch) @ turn(1, roll) @ level
    np.testing.assert_allclose(pose(yaw=yaw, pitch=pitch, roll=roll).rotation, turned, atol=1e-12)


def test_nadir_scale_and_heading() -> None:
    """Straight down, a pixel is height / focal; the upper edge of the picture lies where the camera heads."""
    sight = Sight(LENS, pose(160.0, 90.0, -90.0), Level(0.0))
    east, north, up = sight.ground(np.array([150.0, 0.0, 150.0]), np.array([200.0, 200.0, 400.0])).T
    np.testing.assert_allclose(east, [0.0, 75.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(north, [0.0, 0.0, -100.0], atol=1e-9)
    np.testing.assert_allclose(up, 0.0, atol=1e-9)


def test_ground_projects_back_into_its_pixel() -> None:
    rng = np.random.default_rng(4)
    rows, cols = rng.uniform(0, 300, 50), rng.uniform(0, 400, 50)
    here = pose(120.0, 211.0, -65.0, 8.0)
    point = Sight(LENS, here, Level(20.0)).ground(rows, cols) - [0.0, 0.0, 120.0]
    x, y, z = (point @ here.rotation).T
    np.testing.assert_allclose(150.0 + LENS.focal_px * y / z, rows, atol=1e-6)
    np.testing.assert_allclose(200.0 + LENS.focal_px * x / z, cols, atol=1e-6)


def test_the_sky_shows_no_ground() -> None:
    sight = Sight(LENS, pose(50.0, 0.0, 0.0), Level(0.0))
    ground = sight.ground(np.array([10.0, 150.0, 290.0]), np.array([200.0] * 3))
    assert np.isnan(ground[:2]).all()
    assert np.isfinite(ground[2]).all()
    assert np.isnan(sight.accuracy(np.array([10.0]), np.array([200.0]))).all()


def test_on_a_plane_the_model_gives_what_the_plane_gives(tmp_path: Path) -> None:
    """A slope in a file against the point where a ray meets a plane."""
    with Dem(write_dem(tmp_path / "dem.tif", 25.0, hills_m=0.0)) as dem:
        patch = dem.around(LocalFrame(*PLACE), 400.0)
    here = pose(1120.0, 77.0, -55.0)
    rng = np.random.default_rng(1)
    rows, cols = rng.uniform(0, 300, 40), rng.uniform(0, 400, 40)
    found = Sight(LENS, here, patch).ground(rows, cols)
    ray = LENS.directions(rows, cols) @ here.rotation.T
    # The model's east is that of UTM, which the meridian's convergence turns against true east.
    off = np.radians(-_convergence())
    normal = np.array([-np.tan(np.radians(25.0)) * np.cos(off), -np.tan(np.radians(25.0)) * np.sin(off), 1.0])
    distance = -120.0 * normal[2] / (ray @ normal)
    np.testing.assert_allclose(found - [0.0, 0.0, 1120.0], ray * distance[:, None], atol=0.15)


def _convergence() -> float:
    from pyproj import Proj

    return float(Proj(32648).get_factors(*PLACE).meridian_convergence)


def test_a_ridge_hides_what_is_behind_it(tmp_path: Path) -> None:
    """The first crossing counts: followed by hand in small steps."""
    with Dem(write_dem(tmp_path / "dem.tif", 5.0, hills_m=15.0)) as dem:
        patch = dem.around(LocalFrame(*PLACE), 480.0)
    here = pose(1060.0, 40.0, -25.0)
    rows, cols = np.linspace(60.0, 295.0, 30), np.linspace(5.0, 395.0, 30)
    found = Sight(LENS, here, patch).ground(rows, cols)
    rays = LENS.directions(rows, cols) @ here.rotation.T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    steps = np.arange(0.0, 420.0, 0.05)
    checked = 0
    for ray, point in zip(rays, found, strict=True):
        above = 1060.0 + ray[2] * steps - patch.heights(ray[0] * steps, ray[1] * steps)
        below = np.flatnonzero(above <= 0.0)
        if len(below) and np.isfinite(point).all():
            np.testing.assert_allclose(np.linalg.norm(point - [0, 0, 1060.0]), steps[below[0]], atol=0.1)
            checked += 1
    assert checked > 15


def test_heights_are_in_the_units_that_the_file_says(tmp_path: Path) -> None:
    import rasterio

    path = write_dem(tmp_path / "dem.tif", 12.0, hills_m=5.0)
    with Dem(path) as dem:
        metres = dem.around(LocalFrame(*PLACE), 300.0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5,), (-20.0,)
    with Dem(path) as dem:
        scaled = dem.around(LocalFrame(*PLACE), 300.0)
    np.testing.assert_allclose(scaled.values, metres.values * 0.5 - 20.0)
    for unit, size_m in (("metre", 1.0), ("ft", 0.3048), ("US survey foot", 1200 / 3937)):
        with rasterio.open(path, "r+") as file:
            file.units = (unit,)
        with Dem(path) as dem:
            found = dem.around(LocalFrame(*PLACE), 300.0)
        np.testing.assert_allclose(found.values, scaled.values * size_m)
    with rasterio.open(path, "r+") as file:
        file.units = ("fathom",)
    with pytest.raises(InputError, match="'fathom'; metres and feet"):
        Dem(path)


def test_heights_are_in_the_unit_of_the_vertical_axis_where_the_band_says_none(tmp_path: Path) -> None:
    import rasterio

    path, said = write_dem(tmp_path / "dem.tif", 12.0, hills_m=5.0), tmp_path / "feet.vrt"
    with Dem(path) as dem:
        metres = dem.around(LocalFrame(*PLACE), 300.0)
    with rasterio.open(path) as file:
        crs, transform, (rows, cols) = file.crs, file.transform, file.shape
    wkt = CRS.from_user_input(f"EPSG:{crs.to_epsg()}+6360").to_wkt("WKT1_GDAL")  # NAVD88 height (ftUS)
    said.write_text(
        f'<VRTDataset rasterXSize="{cols}" rasterYSize="{rows}"><SRS>{escape(wkt)}</SRS>'
        f"<GeoTransform>{', '.join(map(str, transform.to_gdal()))}</GeoTransform>"
        '<VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{path.name}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    with Dem(said) as dem:
        found = dem.around(LocalFrame(*PLACE), 300.0)
    np.testing.assert_allclose(found.values, metres.values * 1200 / 3937)


def test_heights_between_cells_are_rasterio_s(tmp_path: Path) -> None:
    import rasterio
    from pyproj import Transformer

    path = write_dem(tmp_path / "dem.tif", 12.0, hills_m=5.0)
    with Dem(path) as dem:
        patch = dem.around(LocalFrame(*PLACE), 300.0)
    with rasterio.open(path) as file:
        values, to_cell = file.read(1), ~file.transform
    rng = np.random.default_rng(2)
    east, north = rng.uniform(-290, 290, (2, 60))
    lon, lat = LocalFrame(*PLACE).degrees(east, north)
    x, y = Transformer.from_crs(4326, 32648, always_xy=True).transform(lon, lat)
    col, row = to_cell.a * x + to_cell.c, to_cell.e * y + to_cell.f
    nearest = values[np.floor(row).astype(int), np.floor(col).astype(int)]
    assert np.abs(patch.heights(east, north) - nearest).max() < 4.0 * (np.tan(np.radians(12)) + 0.6)
    assert abs(float((patch.heights(east, north) - nearest).mean())) < 0.3


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.7, 1.0])
def test_the_radius_holds_two_thirds(ratio: float) -> None:
    rng = np.random.default_rng(3)
    turned = turn(2, 33.0)[:2, :2]
    errors = rng.normal(size=(200_000, 2)) * [4.0, 4.0 * ratio] @ turned.T
    radius = radius_of(turned @ np.diag([16.0, 16.0 * ratio**2]) @ turned.T)
    assert abs(np.mean(np.hypot(*errors.T) <= radius) - ONE_SIGMA) < 0.004


@pytest.mark.parametrize("slope", [0.0, 40.0])
def test_errors_are_within_the_stated_accuracy_in_two_thirds_of_cases(slope: float) -> None:
    found = trials(slope, 180, seed=int(slope))
    assert len(found.error) > 500
    assert abs(found.share - ONE_SIGMA) < 0.05


def test_each_error_moves_the_ground_as_its_derivative_says() -> None:
    """One sigma of one quantity at a time, small, against the accuracy stated for that one alone."""
    none = dict.fromkeys(("position_m", "height_m", "yaw", "pitch", "roll", "focal", "terrain_m"), 0.0)
    rows, cols = np.array([40.0, 210.0]), np.array([330.0, 100.0])
    here = pose(90.0, 140.0, -50.0, 6.0)
    truth = Sight(LENS, here, Level(0.0)).ground(rows, cols)
    moved = {
        "height_m": Sight(LENS, pose(90.01, 140.0, -50.0, 6.0), Level(0.0)),
        "yaw": Sight(LENS, pose(90.0, 140.01, -50.0, 6.0), Level(0.0)),
        "pitch": Sight(LENS, pose(90.0, 140.0, -49.99, 6.0), Level(0.0)),
        "roll": Sight(LENS, pose(90.0, 140.0, -50.0, 6.01), Level(0.0)),
        "focal": Sight(Pinhole(LENS.shape, LENS.focal_px * 1.0001), here, Level(0.0)),
        "terrain_m": Sight(LENS, here, Level(0.01)),
    }
    sizes = {"height_m": 0.01, "yaw": 0.01, "pitch": 0.01, "roll": 0.01, "focal": 0.0001, "terrain_m": 0.01}
    for name, sight in moved.items():
        stated = Sight(LENS, here, Level(0.0), Uncertainty(**{**none, name: sizes[name]})).accuracy(rows, cols)
        change = np.hypot(*(sight.ground(rows, cols) - truth)[:, :2].T)
        np.testing.assert_allclose(stated, change, rtol=0.01, err_msg=name)


def test_a_picture_knows_its_place_in_utm() -> None:
    georeference = CameraGeoreference.of(Sight(LENS, pose(pitch=-90.0), Level(0.0)))
    assert georeference.crs is not None
    assert georeference.crs.to_epsg() == 32648
    lon, lat = georeference.footprint()
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
    assert abs(abs(area) / (300 * 400 * (100 / 320) ** 2) - 1.0) < 1e-3
    assert georeference.shows_ground().all()


def test_the_footprint_of_a_picture_with_sky_ends_below_the_horizon() -> None:
    georeference = CameraGeoreference.of(Sight(LENS, pose(60.0, 0.0, -5.0), Level(0.0)))
    lon, lat = georeference.footprint()
    shows = georeference.shows_ground()
    assert len(lon) >= 16
    assert lat.min() > PLACE[1]
    assert not shows[0].any()
    assert shows[-1].all()


@pytest.mark.parametrize(("mm", "shape"), [(24.0, (3000, 4000)), (24.0, (4000, 6000))])
def test_film_length_compares_diagonals(mm: float, shape: tuple[int, int]) -> None:
    lens = Pinhole.of_film_length(shape, mm)
    assert np.isclose(np.hypot(*shape) / lens.focal_px, np.hypot(36.0, 24.0) / mm)


def test_a_wide_picture_is_cut_from_its_sensor() -> None:
    assert Pinhole.of_film_length((2250, 4000), 20.0).focal_px == Pinhole.of_film_length((3000, 4000), 20.0).focal_px


def test_a_model_elsewhere_is_refused(tmp_path: Path) -> None:
    with Dem(write_dem(tmp_path / "dem.tif", 10.0)) as dem, pytest.raises(InputError, match="does not cover"):
        dem.around(LocalFrame(PLACE[0] + 1.0, PLACE[1]), 100.0)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.tif").write_bytes(b"no raster")
    for name in ("no.tif", "absent.tif"):
        with pytest.raises(InputError, match=name):
            Dem(tmp_path / name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fov": 0.0},
        {"fov": 180.0},
        {"pitch": -91.0},
        {"yaw": 400.0},
        {"takeoff_height_m": 1e5},
        {"ground_sigma_m": -1.0},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        CameraOptions(**wrong)  # type: ignore[arg-type]
