"""One moment of a flight, as telemetry tells it."""

from dataclasses import dataclass

__all__ = ["METRES_PER_DEGREE", "Reading", "rounding_sigma"]

METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What is not told is None.

    lon, lat: degrees, WGS 84; relative_m: height above the take-off place; absolute_m: above a zero that makers do not
    agree on (the sea's level, the ellipsoid); yaw, pitch, roll: degrees, of the camera, as in `camera.Pose`;
    home: (lon, lat) of the take-off place; film_mm: focal length in 35 mm film; position_sigma_m, height_sigma_m: one
    sigma where the telemetry says how well it knows its place (RTK); rounding_m: one sigma of what its few digits cost.
    """

    lon: float
    lat: float
    relative_m: float | None = None
    absolute_m: float | None = None
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    home: tuple[float, float] | None = None
    film_mm: float | None = None
    position_sigma_m: float | None = None
    height_sigma_m: float | None = None
    rounding_m: float = 0.0


def rounding_sigma(decimals: int) -> float:
    """One sigma, in metres, of degrees written with so many decimals: the step over the square root of 12."""
    return float(METRES_PER_DEGREE * 10.0**-decimals / 12.0**0.5)
