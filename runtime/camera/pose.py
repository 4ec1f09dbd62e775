"""Where a camera is and where it looks, and how well that is known."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import InputError, OptionError

__all__ = ["Pose", "Uncertainty"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pose:
    """lon, lat: degrees, WGS 84; height_m: above the terrain's zero.

    yaw: degrees clockwise from true north; pitch: 0 at the horizon, -90 straight down; roll: about the view, the
    right side down where positive. These are the angles of the camera, not of the aircraft.
    """

    lon: float
    lat: float
    height_m: float
    yaw: float
    pitch: float
    roll: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.lon, self.lat, self.height_m, self.yaw, self.pitch, self.roll)
        if not all(map(isfinite, numbers)) or not (abs(self.lon) <= 180.0 and abs(self.lat) <= 90.0):
            raise InputError(f"there is no camera at longitude {self.lon}, latitude {self.lat}, {self.height_m} m")

    @property
    def rotation(self) -> Float:
        """float64, (3, 3): its columns are the camera's right, down and forward, as (east, north, up)."""
        yaw, pitch, roll = np.radians([self.yaw, self.pitch, self.roll])
        forward = np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
        level = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
        down = np.cross(forward, level)
        right = level * np.cos(roll) + down * np.sin(roll)
        return np.stack([right, down * np.cos(roll) - level * np.sin(roll), forward], axis=1)

    @property
    def axes(self) -> Float:
        """float64, (3, 3): its rows are the axes, as (east, north, up), about which yaw, pitch and roll turn."""
        yaw = np.radians(self.yaw)
        return np.stack([[0.0, 0.0, -1.0], [np.cos(yaw), -np.sin(yaw), 0.0], self.rotation[:, 2]])


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """One sigma of what a place on the ground is computed from; independent, normal.

    position_m: of longitude and of latitude each; height_m: of the camera above the terrain's zero; yaw, pitch, roll:
    degrees; focal: as a share; terrain_m: of the ground's height.
    The defaults are those of a consumer drone without RTK: 3 m an axis, a barometer, a magnetic compass.
    """

    position_m: float = 3.0
    height_m: float = 1.0
    yaw: float = 3.0
    pitch: float = 1.0
    roll: float = 1.0
    focal: float = 0.03
    terrain_m: float = 5.0

    def __post_init__(self) -> None:
        numbers = (self.position_m, self.height_m, self.yaw, self.pitch, self.roll, self.focal, self.terrain_m)
        if not all(isfinite(number) and number >= 0.0 for number in numbers):
            raise OptionError(f"uncertainties are finite numbers of at least 0, not {numbers}")
