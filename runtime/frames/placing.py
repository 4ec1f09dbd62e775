"""From what telemetry says to where a picture's pixels lie, or the reason why that cannot be told."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import hypot, isfinite
from pathlib import Path
from types import TracebackType

import numpy as np
from rasterio.crs import CRS

from calanddet.runtime.camera import (
    CameraGeoreference,
    CameraOptions,
    Dem,
    Level,
    LocalFrame,
    Pinhole,
    Pose,
    Sight,
    Terrain,
    Uncertainty,
)
from calanddet.runtime.camera.sight import MOST_DISTANT_M
from calanddet.runtime.errors import InputError
from calanddet.runtime.telemetry import Reading

__all__ = ["Placer", "UnplacedError"]

ABSOLUTE_SIGMA_M = 10.0
"""Of heights above the sea or the ellipsoid: makers mean either, and the two differ by up to 100 m; where a take-off
height is not given this is a guess that the accuracy carries on."""
GROUND_SIGMA_M = {True: 2.0, False: 5.0}
"""Of the ground's height, with an elevation model and without one."""
LOWEST_M = 1.0
_LIKELY_FOCAL = (0.3, 30.0)


class UnplacedError(InputError):
    """A picture has no place on the ground; the message is the reason, and what would help."""


@dataclass(frozen=True, slots=True)
class _Height:
    metres: float
    sigma: float


class Placer:
    """Places pictures with one user's `CameraOptions`; a context manager that closes the elevation model.

    Raises InputError where that cannot be opened.
    """

    def __init__(self, options: CameraOptions) -> None:
        self.options = options
        self._open = ExitStack()
        self.dem = self._open.enter_context(Dem(Path(options.dem))) if options.dem else None
        self.crs: CRS | None = None

    def place(self, reading: Reading, shape: tuple[int, int], *, focal_px: float | None = None) -> CameraGeoreference:
        """Where a picture of `shape` (rows, cols) lies, in the UTM zone of the first one placed.

        Raises UnplacedError where something is missing, InputError where the elevation model does not cover it.
        """
        lens = self._lens(reading, shape, focal_px)
        yaw = reading.yaw if self.options.yaw is None else self.options.yaw
        pitch = reading.pitch if self.options.pitch is None else self.options.pitch
        for angle, name, option in ((pitch, "how the camera is tilted", "--pitch"), (yaw, "its heading", "--heading")):
            if angle is None:
                raise UnplacedError(f"its telemetry does not say {name}: give {option}, in degrees")
        assert yaw is not None
        assert pitch is not None
        height = self._height(reading)
        pose = Pose(reading.lon, reading.lat, height.metres, yaw, pitch, reading.roll or 0.0)
        sight = Sight(lens, pose, self._terrain(lens, pose), self._uncertainty(reading, height))
        georeference = CameraGeoreference.of(sight, self.crs)
        self.crs = georeference.crs
        if not georeference.shows_ground().any():
            raise UnplacedError("it shows no ground within 3 km: the camera looks above the horizon, or off the model")
        return georeference

    def _lens(self, reading: Reading, shape: tuple[int, int], focal_px: float | None) -> Pinhole:
        if self.options.fov is not None:
            return Pinhole.of_field_of_view(shape, self.options.fov)
        if focal_px is not None and _LIKELY_FOCAL[0] < focal_px / shape[1] < _LIKELY_FOCAL[1]:
            return Pinhole(shape, focal_px)
        if reading.film_mm is not None:
            return Pinhole.of_film_length(shape, reading.film_mm)
        raise UnplacedError("its telemetry does not say the focal length: give --fov, the horizontal field of view")

    def _height(self, reading: Reading) -> _Height:
        """Of the camera above the terrain's zero, which without an elevation model is the take-off place."""
        options, above = self.options, Uncertainty().height_m
        relative, absolute = reading.relative_m, reading.absolute_m
        told = reading.height_sigma_m or ABSOLUTE_SIGMA_M
        if self.dem is None:
            if relative is not None:
                return _Height(relative, above)
            if absolute is not None and options.takeoff_height_m is not None:
                return _Height(absolute - options.takeoff_height_m, told)
            raise UnplacedError("its telemetry does not say how high it is above its take-off: give --takeoff-height")
        if relative is not None and options.takeoff_height_m is not None:
            return _Height(options.takeoff_height_m + relative, above)
        if relative is not None and reading.home is not None:
            home = float(self.dem.around(LocalFrame(*reading.home), 0.0).heights(np.zeros(1), np.zeros(1))[0])
            if isfinite(home):
                return _Height(home + relative, hypot(above, self._ground_sigma))
        if absolute is not None:
            return _Height(absolute, told)
        raise UnplacedError(
            "its telemetry does not say how high it is in the elevation model's heights: give --takeoff-height"
        )

    def _terrain(self, lens: Pinhole, pose: Pose) -> Terrain:
        if self.dem is None:
            if pose.height_m < LOWEST_M:
                raise UnplacedError(f"the camera is {pose.height_m:.1f} m above its take-off: it shows no ground")
            return Level()
        frame = LocalFrame(pose.lon, pose.lat)
        below = float(self.dem.around(frame, 0.0).heights(np.zeros(1), np.zeros(1))[0])
        clear = pose.height_m - below
        if not clear >= LOWEST_M:
            raise UnplacedError(
                f"the camera at {pose.height_m:.1f} m is not above the ground of the elevation model, {below:.1f} m: "
                "the heights mean different zeros; give --takeoff-height in those of the model"
            )
        # A slope of 40 degrees falls away from a wide camera by 1.8 of its heights: four are within the piece.
        edge = Sight(lens, pose, Level(below - 3.0 * clear)).ground(*lens.outline)[:, :2]
        reach = float(np.hypot(*edge.T).max())
        return self.dem.around(frame, min(1.1 * reach, MOST_DISTANT_M) if isfinite(reach) else MOST_DISTANT_M)

    def _uncertainty(self, reading: Reading, height: _Height) -> Uncertainty:
        usual = Uncertainty()
        position = reading.position_sigma_m or usual.position_m
        return replace(
            usual,
            position_m=hypot(position, reading.rounding_m),
            height_m=height.sigma,
            terrain_m=self._ground_sigma,
        )

    @property
    def _ground_sigma(self) -> float:
        given = self.options.ground_sigma_m
        return GROUND_SIGMA_M[self.dem is not None] if given is None else given

    def close(self) -> None:
        """Close the elevation model; idempotent."""
        self._open.close()

    def __enter__(self) -> "Placer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
