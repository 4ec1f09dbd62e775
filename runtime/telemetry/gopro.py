"""GoPro's telemetry track (GPMF) in its videos: the Karma drone's position and heading, or the camera's own GPS.

The format is described at https://github.com/gopro/gpmf-parser: nested items of key, type, structure size, repeat and
big-endian data; SCAL divides what follows it in its stream.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from calanddet.runtime.errors import InputError
from calanddet.runtime.telemetry.mp4 import Sample, read_samples
from calanddet.runtime.telemetry.reading import Reading
from calanddet.runtime.telemetry.track import FlightTrack

__all__ = ["read_gopro"]

_SCALES = {b"s": "h", b"S": "H", b"l": "i", b"L": "I", b"f": "f"}
_KARMA = struct.Struct(">I4i3hH")
"""GLPI: milliseconds, latitude, longitude, altitude, height above take-off, speed north, east, down, heading."""
_GPS = struct.Struct(">5i")
"""GPS5: latitude, longitude, altitude, speed over ground and in space."""


def read_gopro(video: Path) -> FlightTrack | None:
    """The flight in a video, None where it has no such track. Raises InputError where the track has no position."""
    samples = read_samples(video, b"gpmd")
    if not samples:
        return None
    karma = _rows(samples, b"GLPI", _KARMA)
    if karma:
        first = karma[0][1][0]
        start = karma[0][0]
        found = [(start + (row[0] - first), _of_karma(row)) for _, row in karma]
        dialect = "GoPro Karma"
    else:
        found = [(time, _of_camera(row)) for time, row in _rows(samples, b"GPS5", _GPS)]
        dialect = "GoPro GPS"
    kept = [(time, place) for time, place in found if abs(place.lat) <= 90.0 and (place.lat, place.lon) != (0.0, 0.0)]
    times: list[float] = []
    readings: list[Reading] = []
    for time, reading in kept:
        if not times or time > times[-1]:
            times.append(time)
            readings.append(reading)
    if not readings:
        raise InputError(f"the telemetry track of {video.name} has no position: no GPS fix")
    return FlightTrack(dialect, times, readings)


def _of_karma(row: tuple[float, ...]) -> Reading:
    """The heading is the aircraft's, which the camera below it shares but for the gimbal's small turns."""
    return Reading(lon=row[2], lat=row[1], absolute_m=row[3], relative_m=row[4], yaw=row[8], roll=0.0)


def _of_camera(row: tuple[float, ...]) -> Reading:
    return Reading(lon=row[1], lat=row[0], absolute_m=row[2])


def _rows(samples: list[Sample], key: bytes, layout: struct.Struct) -> list[tuple[float, tuple[float, ...]]]:
    """(time, scaled values) of each structure under `key`, evenly over the sample that holds it."""
    rows: list[tuple[float, tuple[float, ...]]] = []
    for sample in samples:
        for scale, data in _streams(sample.data, key):
            count = len(data) // layout.size
            for n in range(count):
                values = layout.unpack_from(data, n * layout.size)
                divisors = scale if len(scale) == len(values) else (scale or (1.0,))[:1] * len(values)
                scaled = tuple(value / divisor for value, divisor in zip(values, divisors, strict=True))
                rows.append((sample.time_s + sample.length_s * n / count, scaled))
    return rows


def _streams(data: bytes, wanted: bytes) -> Iterator[tuple[tuple[float, ...], bytes]]:
    """(scale, data) of each item `wanted`, at any depth; what does not fit ends the sample."""
    scale: tuple[float, ...] = ()
    at = 0
    while at + 8 <= len(data):
        key, kind, size, repeat = struct.unpack_from(">4scBH", data, at)
        length = size * repeat
        body = data[at + 8 : at + 8 + length]
        if len(body) < length:
            return
        if kind == b"\0":
            yield from _streams(body, wanted)
        elif key == b"SCAL" and kind in _SCALES:
            count = length // struct.calcsize(">" + _SCALES[kind])
            scale = tuple(float(value) or 1.0 for value in struct.unpack_from(f">{count}{_SCALES[kind]}", body))
        elif key == wanted:
            yield scale, body
        at += 8 + (length + 3) // 4 * 4
