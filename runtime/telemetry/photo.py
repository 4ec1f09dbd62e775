"""What a photograph says about its camera: EXIF, and DJI's XMP, as GDAL reads them."""

import re
from dataclasses import dataclass
from pathlib import Path

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources.opening import gdal_errors, open_dataset
from calanddet.runtime.telemetry.reading import Reading

__all__ = ["PhotoFacts", "read_photo"]

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_XMP = re.compile(r"drone-dji:(\w+)\s*(?:=\s*\"([^\"]*)\"|>([^<]*)<)")
_RTK_FIXED = 50
UPRIGHT = 1
"""EXIF orientation of a picture whose first row is at the top."""


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """shape: (rows, cols); reading: None without a position; focal_px: as the maker calibrated it, None where it did
    not; orientation: EXIF's, 1 to 8."""

    shape: tuple[int, int]
    reading: Reading | None
    focal_px: float | None
    orientation: int


def read_photo(path: Path) -> PhotoFacts:
    """What the file tells. Raises InputError when it cannot be opened, or tells a place that there is not."""
    with open_dataset(path) as dataset:
        with gdal_errors(f"{path} cannot be understood"):
            exif = {key: str(value) for key, value in dataset.tags().items()}
            xmp = "".join(dataset.tags(ns="xml:XMP").values())
        shape = dataset.height, dataset.width
    dji = {name: value or text for name, value, text in _XMP.findall(xmp)}
    orientation = int(_first(exif.get("EXIF_Orientation")) or UPRIGHT)
    return PhotoFacts(shape, _reading(path, exif, dji), _positive(dji.get("CalibratedFocalLength")), orientation)


def _reading(path: Path, exif: dict[str, str], dji: dict[str, str]) -> Reading | None:
    lat = _degrees(exif.get("EXIF_GPSLatitude"), exif.get("EXIF_GPSLatitudeRef", "N"))
    lon = _degrees(exif.get("EXIF_GPSLongitude"), exif.get("EXIF_GPSLongitudeRef", "E"))
    lat = lat if lat is not None else _first(dji.get("GpsLatitude"))
    lon = lon if lon is not None else _first(dji.get("GpsLongitude", dji.get("GpsLongtitude")))
    if lat is None or lon is None or (lat, lon) == (0.0, 0.0):
        return None
    if abs(lat) > 90.0 or abs(lon) > 180.0:
        raise InputError(f"{path} says it was taken at latitude {lat:g}, longitude {lon:g}: there is no such place")
    absolute = _first(dji.get("AbsoluteAltitude"))
    if absolute is None:
        absolute = _first(exif.get("EXIF_GPSAltitude"))
        if absolute is not None and exif.get("EXIF_GPSAltitudeRef", "").endswith("1"):
            absolute = -absolute
    fixed = _first(dji.get("RtkFlag")) == _RTK_FIXED
    across = [_positive(dji.get(name)) for name in ("RtkStdLon", "RtkStdLat")] if fixed else [None]
    return Reading(
        lon=lon,
        lat=lat,
        relative_m=_first(dji.get("RelativeAltitude")),
        absolute_m=absolute,
        yaw=_first(dji.get("GimbalYawDegree")),
        pitch=_first(dji.get("GimbalPitchDegree")),
        roll=_first(dji.get("GimbalRollDegree")),
        film_mm=_positive(exif.get("EXIF_FocalLengthIn35mmFilm")),
        position_sigma_m=max((value for value in across if value is not None), default=None),
        height_sigma_m=_positive(dji.get("RtkStdHgt")) if fixed else None,
    )


def _first(text: str | None) -> float | None:
    match = _NUMBER.search(text or "")
    return float(match.group()) if match else None


def _positive(text: str | None) -> float | None:
    number = _first(text)
    return number if number is not None and number > 0.0 else None


def _degrees(text: str | None, side: str) -> float | None:
    """From "(46) (50) (33.3855)" and "N"; fewer parts where the seconds are in the minutes."""
    parts = [float(part) for part in _NUMBER.findall(text or "")]
    if not parts:
        return None
    value = sum(part / 60.0**n for n, part in enumerate(parts[:3]))
    return -value if side.strip()[:1].upper() in ("S", "W") else value
