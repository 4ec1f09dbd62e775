"""How far landslides lie from where the camera's geometry says, on slopes: made cameras over made terrain.

    python -m calanddet.benchmarks.georeferencing [TRIALS]

prints the table of docs/design/camera.md. In a trial the true camera and ground differ from what telemetry and
elevation model say by normal errors of the sizes that `Uncertainty` states; everything else is the product's own way.
"""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from calanddet.runtime.camera import CameraGeoreference, Dem, Level, LocalFrame, Pinhole, Pose, Sight, Uncertainty
from calanddet.runtime.camera.terrain import DemPatch

__all__ = ["Outcome", "trials", "write_dem"]

Float = NDArray[np.float64]
PLACE = (103.5, 31.2)
GROUND_M, ABOVE_M, PITCH = 1000.0, 120.0, -60.0
"""Metres of ground under the camera, of the camera above it, and its tilt: 30 degrees off the vertical."""
CELL_M, CELLS = 4.0, (250, 280)
LENS = Pinhole.of_field_of_view((1500, 2000), 60.0)
PIXELS = 3
"""Places in each picture that are compared."""
SLOPES = (0.0, 10.0, 20.0, 30.0, 40.0)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Of places in trials, float64, (n,), metres: error, the accuracy stated for them, and the error of a flat Earth at
    the height below the camera, free of all other errors."""

    error: Float
    stated: Float
    flat: Float

    @property
    def share(self) -> float:
        """Of the errors that are within what was stated; 0.683 where the statement is right."""
        return float((self.error <= self.stated).mean())


def write_dem(path: Path, slope: float, *, hills_m: float = 1.0) -> Path:
    """A plane that rises to the east by `slope` degrees, GROUND_M high at PLACE, with hills 80 m apart on it."""
    x, y = pyproj.Transformer.from_crs(4326, 32648, always_xy=True).transform(*PLACE)
    rows, cols = CELLS
    east = (np.arange(cols) + 0.5 - cols / 2)[None, :] * CELL_M
    north = (rows / 2 - np.arange(rows) - 0.5)[:, None] * CELL_M
    hills = hills_m * np.sin(east * (2.0 * np.pi / 80.0)) * np.sin(north * (2.0 * np.pi / 80.0))
    grid = Affine(CELL_M, 0.0, x - cols / 2 * CELL_M, 0.0, -CELL_M, y + rows / 2 * CELL_M)
    profile = {"driver": "GTiff", "height": rows, "width": cols, "count": 1, "dtype": "float32", "nodata": -9999.0}
    with rasterio.open(path, "w", crs="EPSG:32648", transform=grid, **profile) as file:
        file.write((GROUND_M + np.tan(np.radians(slope)) * east + hills).astype(np.float32), 1)
    return path


def trials(slope: float, count: int, *, seed: int = 0, uncertainty: Uncertainty | None = None) -> Outcome:
    """The outcome of `count` pictures over a slope in degrees, each looking in a direction of its own."""
    rng = np.random.default_rng(seed)
    sigma = uncertainty or Uncertainty(terrain_m=2.0)
    found: list[Float] = []
    with tempfile.TemporaryDirectory() as folder, Dem(write_dem(Path(folder) / "dem.tif", slope)) as dem:
        for _ in range(count):
            true = Pose(*PLACE, GROUND_M + ABOVE_M, float(rng.uniform(0.0, 360.0)), PITCH)
            found.append(_trial(dem, true, sigma, rng))
    error, stated, flat = np.concatenate(found, axis=1)
    known = np.isfinite(error + stated)
    return Outcome(error[known], stated[known], flat[known])


def _trial(dem: Dem, true: Pose, sigma: Uncertainty, rng: np.random.Generator) -> Float:
    """Error, stated accuracy and flat-earth error, float64, (3, PIXELS)."""
    rows, cols = rng.uniform(0.05, 0.95, PIXELS) * LENS.shape[0], rng.uniform(0.05, 0.95, PIXELS) * LENS.shape[1]
    told, lens = _misread(true, sigma, rng)
    truly = _lifted(dem.around(LocalFrame(true.lon, true.lat), 450.0), rng.normal(0.0, sigma.terrain_m))
    model = dem.around(LocalFrame(told.lon, told.lat), 450.0)
    here = _ground(Sight(LENS, true, truly), rows, cols)
    sight = Sight(lens, told, model, sigma)
    error = np.hypot(*(_ground(sight, rows, cols) - here))
    flat = np.hypot(*(_ground(Sight(LENS, true, Level(GROUND_M)), rows, cols) - here))
    return np.stack([error, sight.accuracy(rows, cols), flat])


def _misread(true: Pose, sigma: Uncertainty, rng: np.random.Generator) -> tuple[Pose, Pinhole]:
    """What telemetry and data sheet say of a camera."""
    east, north = rng.normal(0.0, sigma.position_m, (2, 1))
    lon, lat = LocalFrame(true.lon, true.lat).degrees(east, north)
    told = Pose(
        float(lon[0]),
        float(lat[0]),
        true.height_m + rng.normal(0.0, sigma.height_m),
        true.yaw + rng.normal(0.0, sigma.yaw),
        true.pitch + rng.normal(0.0, sigma.pitch),
        true.roll + rng.normal(0.0, sigma.roll),
    )
    return told, Pinhole(LENS.shape, LENS.focal_px * (1.0 + rng.normal(0.0, sigma.focal)))


def _lifted(patch: DemPatch, metres: float) -> DemPatch:
    return replace(patch, values=patch.values + metres)


def _ground(sight: Sight, rows: Float, cols: Float) -> Float:
    """float64, (2, V), metres in UTM."""
    bare = CameraGeoreference(crs=rasterio.crs.CRS.from_epsg(32648), sight=sight)
    return np.stack(bare.ground(rows, cols))


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("| slope | places | error, median | stated accuracy, median | within stated | flat earth, median | 90 % |")
    print("|---|---|---|---|---|---|---|")
    for slope in SLOPES:
        found = trials(slope, count)
        flat = np.nan_to_num(found.flat, nan=np.inf)
        print(
            f"| {slope:.0f}° | {len(found.error)} | {np.median(found.error):.1f} m | {np.median(found.stated):.1f} m "
            f"| {found.share:.1%} | {np.median(flat):.1f} m | {np.quantile(flat, 0.9):.1f} m |"
        )


if __name__ == "__main__":
    main()
