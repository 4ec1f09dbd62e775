"""What a user knows about a camera and its ground that the pictures do not say."""

from dataclasses import dataclass
from math import inf

from calanddet.runtime.errors import OptionError

__all__ = ["CameraOptions"]


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """dem: path of an elevation model; takeoff_height_m: of the take-off place, in the heights of that model, or,
    without one, in those of the telemetry. fov: horizontal field of view, yaw, pitch: degrees, as in `Pose`, where the
    telemetry has none (or another one is wanted). ground_sigma_m: how well the ground's height is known, one sigma;
    None for 2 m with an elevation model and 5 m without.
    """

    dem: str | None = None
    takeoff_height_m: float | None = None
    fov: float | None = None
    yaw: float | None = None
    pitch: float | None = None
    ground_sigma_m: float | None = None

    def __post_init__(self) -> None:
        if self.fov is not None and not 0.0 < self.fov < 170.0:
            raise OptionError(f"a horizontal field of view lies between 0 and 170 degrees, not at {self.fov:g}")
        if self.pitch is not None and not -90.0 <= self.pitch <= 90.0:
            raise OptionError(f"a pitch lies between -90 (straight down) and 90 degrees, not at {self.pitch:g}")
        if self.yaw is not None and not -360.0 <= self.yaw <= 360.0:
            raise OptionError(f"a heading lies between -360 and 360 degrees, not at {self.yaw:g}")
        if self.takeoff_height_m is not None and not -500.0 <= self.takeoff_height_m <= 9000.0:
            raise OptionError(f"a take-off height lies between -500 and 9000 m, not at {self.takeoff_height_m:g}")
        if self.ground_sigma_m is not None and not 0.0 <= self.ground_sigma_m < inf:
            raise OptionError(f"the ground's uncertainty is a finite number of at least 0, not {self.ground_sigma_m:g}")
