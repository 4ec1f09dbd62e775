"""Telemetry of drones: every dialect at hand read or refused by name, and tracks between their entries."""

from pathlib import Path

import numpy as np
import pytest

from calanddet.runtime.errors import InputError
from calanddet.runtime.telemetry import FlightTrack, Reading, find_telemetry, read_photo, read_srt
from calanddet.runtime.telemetry import track as track_module
from helpers.made_flights import write_photo
from helpers.numbers import random_rgb
from helpers.shared import shared

TABLE = {
    "air2s.srt": ("DJI, brackets", 17, 0.533, 2.234156, 41.424724, None),
    "matrice_300.srt": ("DJI, Matrice 300", 381, 380.0, -6.1120, 36.6146, 0.3),
    "mavic_2_style.SRT": ("DJI, brackets", 463, 468.0, 149.0251, -20.2533, None),
    "mavic_mini.SRT": ("DJI, H and G.PRY", 117, 116.0, -121.7458, 48.0771, 200.7),
    "mavic_pro_buggy.SRT": ("DJI, barometer", 530, 546.0, -1.2218, 42.4668, 0.0),
    "old_format.SRT": ("DJI, barometer", 468, 468.0, 149.0251, -20.2533, 1.9),
    "p4_rtk.SRT": ("DJI, H and G.PRY", 55, 54.0, -58.851745, -34.237922, 85.8),
    "broken_incomplete.SRT": ("DJI, barometer", 19, 19.0, -58.4563, -34.7383, 20.1),
}
"""Dialect, entries with a position, time of the last one, and longitude, latitude, height of the first, as the files
say it."""
REFUSED = {"broken_empty.SRT": "no numbered entry", "mavic_air.SRT": "exposures but no position"}


@pytest.mark.parametrize("name", TABLE)
def test_dialects_are_read(name: str) -> None:
    track = read_srt(shared("drone", "dji_srt", name))
    first = track.readings[0]
    told = (track.dialect, len(track.times), track.times[-1], first.lon, first.lat, first.relative_m)
    assert told == TABLE[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_position_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}.*{REFUSED[name]}"):
        read_srt(shared("drone", "dji_srt", name))


def test_every_file_is_in_the_table() -> None:
    files = {path.name for path in shared("drone", "dji_srt").iterdir()}
    assert files == set(TABLE) | set(REFUSED)


@pytest.mark.parametrize(
    ("name", "count"), [("broken_incomplete.SRT", "1 of 20"), ("mavic_pro_buggy.SRT", "16 of 546")]
)
def test_entries_without_a_position_are_told(name: str, count: str) -> None:
    (note,) = read_srt(shared("drone", "dji_srt", name)).notes
    assert count in note


def test_gimbal_and_home() -> None:
    track = read_srt(shared("drone", "dji_srt", "p4_rtk.SRT"))
    first = track.readings[0]
    assert (first.pitch, first.roll, first.yaw) == (-24.4, 0.0, 110.4)
    assert first.home == (-58.847509, -34.232707)


def test_newer_brackets(tmp_path: Path) -> None:
    text = (
        '1\n00:00:00,000 --> 00:00:00,033\n<font size="28">FrameCnt: 1, DiffTime: 33ms\n2023-05-01 10:00:00.000\n'
        "[iso: 100] [focal_len: 24.00] [latitude: 46.1] [longitude: 7.25] [rel_alt: 80.100 abs_alt: 1500.300] "
        "[gb_yaw: -30.5 gb_pitch: -60.0 gb_roll: 0.0] </font>\n"
    )
    (tmp_path / "a.srt").write_text(text, encoding="utf-8")
    (reading,) = read_srt(tmp_path / "a.srt").readings
    assert (reading.relative_m, reading.absolute_m, reading.film_mm) == (80.1, 1500.3, 24.0)
    assert (reading.yaw, reading.pitch, reading.roll) == (-30.5, -60.0, 0.0)


@pytest.mark.parametrize(
    "text", ["", "no subtitles at all", "1\n00:00:00,000 --> 00:00:01,000\nHello\n", "\0\1\2" * 99]
)
def test_other_texts_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.srt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"odd\.srt"):
        read_srt(tmp_path / "odd.srt")


def test_a_flight_without_a_fix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\n[latitude: 0.0] [longitude: 0.0]\n", encoding="utf-8"
    )
    with pytest.raises(InputError, match="no GPS fix"):
        read_srt(tmp_path / "a.srt")


def test_between_entries_the_track_runs_straight_and_the_shorter_way_round() -> None:
    track = FlightTrack("made", [0.0, 1.0], [Reading(7.0, 46.0, yaw=350.0), Reading(7.001, 46.002, 10.0, yaw=20.0)])
    reading = track.at(0.5)
    assert reading is not None
    np.testing.assert_allclose((reading.lon, reading.lat), (7.0005, 46.001))
    assert reading.yaw == 365.0
    assert reading.relative_m is None


def test_across_the_antimeridian() -> None:
    track = FlightTrack("made", [0.0, 1.0], [Reading(179.999, 0.5), Reading(-179.999, 0.5)])
    reading = track.at(0.75)
    assert reading is not None
    np.testing.assert_allclose(reading.lon, -179.9995)


def test_gaps_and_ends() -> None:
    track = FlightTrack("made", [1.0, 2.0, 3.0, 10.0, 11.0], [Reading(7.0, 46.0)] * 5)
    known = [time for time in np.arange(0.0, 14.0, 0.5) if track.at(time) is not None]
    assert known == [*np.arange(0.0, 4.5, 0.5), *np.arange(10.0, 12.5, 0.5)]


def test_a_long_track_is_asked_for_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def median(steps: list[float]) -> float:
        made.append(len(steps))
        return 0.5

    monkeypatch.setattr(track_module, "median", median)
    track = FlightTrack("made", [0.0, 0.5, 1.0], [Reading(7.0, 46.0)] * 3)
    assert [track.at(time) is not None for time in (0.0, 0.7, 1.4, 1.6)] == [True, True, True, False]
    assert made == [2]


def test_a_video_tells_its_flight_itself() -> None:
    track = find_telemetry(shared("drone", "video", "gopro_karma.mp4"))
    assert track is not None
    assert (track.dialect, len(track.times)) == ("GoPro Karma", 47)
    first = track.readings[0]
    assert (first.lat, first.lon, first.relative_m, first.yaw) == (33.1253688, -117.3310668, 2.003, 331.56)


def test_a_cut_video_has_no_flight(tmp_path: Path) -> None:
    data = shared("drone", "video", "gopro_karma.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    assert find_telemetry(tmp_path / "cut.mp4") is None


def test_a_photo_as_its_maker_wrote_it() -> None:
    facts = read_photo(shared("drone", "photos", "DJI_0018.JPG"))
    reading = facts.reading
    assert reading is not None
    np.testing.assert_allclose(
        (reading.lat, reading.lon), (46 + 50 / 60 + 33.3855 / 3600, -(91 + 59 / 60 + 40.4156 / 3600))
    )
    assert (reading.relative_m, reading.absolute_m, reading.yaw, reading.pitch) == (39.8, 198.31, 45.0, -89.9)
    assert (reading.film_mm, facts.orientation, facts.shape) == (20.0, 1, (2250, 4000))


def test_a_photo_with_rtk(tmp_path: Path) -> None:
    dji = {
        "GpsLatitude": "31.2",
        "GpsLongtitude": "-103.5",
        "RtkFlag": "50",
        "RtkStdLon": "0.012",
        "RtkStdLat": "0.015",
    }
    facts = read_photo(
        write_photo(tmp_path / "a.jpg", random_rgb(1, 40, 60), dji | {"RtkStdHgt": "0.03"}, orientation=6)
    )
    assert facts.reading is not None
    assert (facts.reading.lat, facts.reading.lon) == (31.2, -103.5)
    assert (facts.reading.position_sigma_m, facts.reading.height_sigma_m) == (0.015, 0.03)
    assert facts.orientation == 6


def test_a_photo_from_nowhere(tmp_path: Path) -> None:
    assert read_photo(write_photo(tmp_path / "a.jpg", random_rgb(1, 40, 60), {})).reading is None
    with pytest.raises(InputError, match="no such place"):
        read_photo(write_photo(tmp_path / "b.jpg", random_rgb(1, 40, 60), {"GpsLatitude": "91.5", "GpsLongitude": "3"}))
