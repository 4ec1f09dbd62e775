"""DJI's telemetry in subtitles (.SRT beside the video), in the dialects that its drones have written since 2015."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from calanddet.runtime.errors import InputError
from calanddet.runtime.telemetry.reading import Reading, rounding_sigma
from calanddet.runtime.telemetry.track import FlightTrack

__all__ = ["read_srt"]

LARGEST = 256 * 2**20
"""Bytes; an hour at 60 entries a second is 60 MB."""

_N = r"\s*([-+]?\d+(?:\.\d+)?)\s*"
_TIMES = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{3})\s*-->")
_DATE = re.compile(r"(\d{4})[.-](\d{1,2})[.-](\d{1,2}) (\d{1,2}):(\d\d):(\d\d)(?:[,.](\d{1,3}))?")
_ENTRY = re.compile(r"(?:^|\n)[ \t]*\d+[ \t]*\n(?=[ \t]*(?:\d+:\d\d:\d\d[,.]\d{3}[ \t]*-->|\d{4}[.-]\d))")
_TRIPLE = re.compile(rf"\bGPS\s*\({_N},{_N},{_N}(M?)\)")
_HOME = re.compile(rf"\bHOME\s*\({_N},{_N}[,)]")
_BAROMETER = re.compile(rf"\b(?:BAROMETER|Hb):{_N}")
_HEIGHT = re.compile(rf"\bH{_N}m")
_GIMBAL = re.compile(rf"\bG\.PRY\s*\({_N}°?,{_N}°?,{_N}°?\)")
_FIELD = re.compile(r"([a-zA-Z_]+)\s*:\s*([-+]?\d+(?:\.\d+)?)(?=[\s\]/])")


@dataclass(frozen=True, slots=True)
class _Dialect:
    name: str
    mark: re.Pattern[str]
    read: Callable[[str], Reading | None]


def read_srt(path: Path) -> FlightTrack:
    """The track in a subtitle file.

    Raises InputError, naming the file and what is wrong: empty, of no known dialect, or without any position.
    """
    entries = [(time, text) for time, text in _entries(path) if text.strip()]
    if not entries:
        raise InputError(f"{path.name} holds no telemetry: it has no numbered entry with a time in it")
    dialect = next((d for d in _DIALECTS if any(d.mark.search(text) for _, text in entries)), None)
    if dialect is None:
        known = re.search(r"\[iso|ISO|FrameCnt", entries[0][1])
        what = "exposures but no position" if known else "no telemetry that is known here"
        raise InputError(f"{path.name} has {len(entries)} entries with {what}: frames cannot be placed with it")
    times: list[float] = []
    readings: list[Reading] = []
    unread = repeated = 0
    for time, text in entries:
        reading = dialect.read(text)
        if reading is None or not _plausible(reading):
            unread += 1
        elif times and time <= times[-1]:
            repeated += 1
        else:
            times.append(time)
            readings.append(reading)
    if not readings:
        raise InputError(f"{path.name} ({dialect.name}) has {len(entries)} entries and no position in any: no GPS fix")
    return FlightTrack(dialect.name, times, readings, _notes(path, len(entries), unread, repeated))


def _notes(path: Path, total: int, unread: int, repeated: int) -> tuple[str, ...]:
    notes = []
    if unread:
        notes.append(f"{path.name}: {unread} of {total} entries have no position and are left out")
    if repeated:
        notes.append(f"{path.name}: {repeated} of {total} entries do not come after the one before and are left out")
    return tuple(notes)


def _entries(path: Path) -> list[tuple[float, str]]:
    """(time in seconds, text) of each numbered entry; times come from the dates where there are no others."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} has {path.stat().st_size} bytes: that is no file of subtitles")
        text = path.read_bytes().decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    found: list[tuple[float, str]] = []
    first: datetime | None = None
    for part in _ENTRY.split(text)[1:]:
        at = _TIMES.search(part)
        if at:
            hours, minutes, seconds, millis = map(int, at.groups())
            found.append((hours * 3600.0 + minutes * 60.0 + seconds + millis / 1000.0, part[at.end() :]))
            continue
        moment = _moment(part)
        if moment is not None:
            first = first or moment
            found.append(((moment - first).total_seconds(), part))
    return found


def _moment(text: str) -> datetime | None:
    match = _DATE.search(text)
    if match is None:
        return None
    *whole, part = match.groups()
    try:
        return datetime(*map(int, whole), int((part or "0").ljust(3, "0")) * 1000)  # type: ignore[arg-type, call-arg]
    except ValueError:
        return None


def _plausible(reading: Reading) -> bool:
    """Whether there is such a place; (0, 0) is what a receiver without a fix says."""
    return abs(reading.lat) <= 90.0 and abs(reading.lon) <= 180.0 and (reading.lat, reading.lon) != (0.0, 0.0)


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    match = pattern.search(text)
    return float(match.group(1)) if match else None


def _sigma(*numbers: str) -> float:
    return rounding_sigma(min(len(number.partition(".")[2]) for number in numbers))


def _home(text: str) -> tuple[float, float] | None:
    match = _HOME.search(text)
    return (float(match.group(1)), float(match.group(2))) if match else None


def _lettered(text: str) -> Reading | None:
    """F/2.8, ..., GPS (lon, lat, satellites), HOME (lon, lat, m), D .., H 85.8m, ..., G.PRY (pitch, roll, yaw)."""
    place = _TRIPLE.search(text)
    if place is None:
        return None
    turned = _GIMBAL.search(text)
    pitch, roll, yaw = map(float, turned.groups()) if turned else (None, None, None)
    lon, lat = place.group(1), place.group(2)
    return Reading(
        lon=float(lon),
        lat=float(lat),
        relative_m=_number(_HEIGHT, text),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        home=_home(text),
        rounding_m=_sigma(lon, lat),
    )


def _barometric(text: str) -> Reading | None:
    """HOME(lon,lat) date, GPS(lon,lat,satellites) BAROMETER:19.8, or Hb:1.9."""
    place = _TRIPLE.search(text)
    if place is None:
        return None
    lon, lat = place.group(1), place.group(2)
    return Reading(
        lon=float(lon),
        lat=float(lat),
        relative_m=_number(_BAROMETER, text),
        home=_home(text),
        rounding_m=_sigma(lon, lat),
    )


def _matrice(text: str) -> Reading | None:
    """GPS(lat,lon,0.0M) BAROMETER:0.3M: the only one with the latitude first."""
    place = _TRIPLE.search(text)
    if place is None:
        return None
    lat, lon = place.group(1), place.group(2)
    return Reading(lon=float(lon), lat=float(lat), relative_m=_number(_BAROMETER, text), rounding_m=_sigma(lat, lon))


def _bracketed(text: str) -> Reading | None:
    """[latitude: ..] [longitude: ..] [rel_alt: .. abs_alt: ..] [gb_yaw: .. gb_pitch: .. gb_roll: ..], or less.

    `longtitude` is DJI's own spelling on some drones; `altitude` alone is above the sea, and `focal_len` in tenths of
    a millimetre of 35 mm film.
    """
    given = dict(_FIELD.findall(text))
    lat, lon = given.get("latitude"), given.get("longitude", given.get("longtitude"))
    if lat is None or lon is None:
        return None
    known = {name: float(value) for name, value in given.items()}
    focal = known.get("focal_len")
    return Reading(
        lon=float(lon),
        lat=float(lat),
        relative_m=known.get("rel_alt"),
        absolute_m=known.get("abs_alt", known.get("altitude")),
        yaw=known.get("gb_yaw"),
        pitch=known.get("gb_pitch"),
        roll=known.get("gb_roll"),
        film_mm=None if not focal else focal / 10.0 if focal >= 100.0 else focal,
        rounding_m=_sigma(lat, lon),
    )


_DIALECTS = (
    _Dialect("DJI, brackets", re.compile(r"\[\s*(?:latitude|long?t?itude)\s*:"), _bracketed),
    _Dialect("DJI, Matrice 300", re.compile(rf"\bGPS\s*\({_N},{_N},{_N}M\)"), _matrice),
    _Dialect("DJI, H and G.PRY", re.compile(r"\bGPS\s+\("), _lettered),
    _Dialect("DJI, barometer", re.compile(r"\bGPS\("), _barometric),
)
"""The first whose mark occurs in the file."""
