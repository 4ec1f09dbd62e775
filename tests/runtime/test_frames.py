"""Photographs, videos and streams: placed by their telemetry, mapped in pixels without, and every loss told."""

import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from shapely.geometry import Point, shape

from calanddet.benchmarks.georeferencing import PLACE, write_dem
from calanddet.runtime import InputError, MapOptions, MapResult, OutputError, run
from calanddet.runtime.camera import CameraOptions
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.frames.live import LiveFrames, LiveOptions, is_stream
from calanddet.runtime.frames.maps import map_stream
from calanddet.runtime.frames.placing import Placer, UnplacedError
from calanddet.runtime.frames.video import VideoFrames
from calanddet.runtime.model import Model
from calanddet.runtime.telemetry import Reading, read_photo
from helpers.live import live_camera
from helpers.made_flights import made_frame, write_photo, write_video
from helpers.servers import silent_server
from helpers.shared import shared

DJI = {
    "GpsLatitude": f"{PLACE[1]}",
    "GpsLongitude": f"{PLACE[0]}",
    "RelativeAltitude": "+80.0",
    "AbsoluteAltitude": "+1080.0",
    "GimbalYawDegree": "+30.0",
    "GimbalPitchDegree": "-90.0",
    "GimbalRollDegree": "+0.0",
}


@pytest.fixture
def model() -> Model:
    return Model(NullEngine(batch=2, tile=64))


def only(results: list[MapResult]) -> MapResult:
    (result,) = results
    return result


def features(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["features"]
    return found


def test_a_photo_s_landslides_lie_where_its_camera_says(model: Model, tmp_path: Path) -> None:
    """Straight down from 80 m: a square right of the middle lies that far to the right of the heading."""
    rgb = made_frame(60)
    photo = write_photo(tmp_path / "a.jpg", rgb, DJI)
    result = only(run(model, photo, tmp_path / "out", options=MapOptions(overlap=16)))
    (found,) = features(result.files["geojson"])
    focal = 24.0 * np.hypot(120, 160) / np.hypot(36, 24)
    gsd = 80.0 / focal
    assert abs(found["properties"]["area_m2"] / (found["properties"]["area_px"] * gsd**2) - 1.0) < 0.01
    col, row = 20.0 + 60 % 60 + 15.0 - 80.0, 55.0 - 60.0
    right, up = np.radians(30.0 + 90.0), np.radians(30.0)
    east = gsd * (col * np.sin(right) - row * np.sin(up))
    north = gsd * (col * np.cos(right) - row * np.cos(up))
    metres = np.array([np.cos(np.radians(PLACE[1])) * 111_320.0, 110_870.0])
    place = (np.array([found["properties"]["centroid_lon"], found["properties"]["centroid_lat"]]) - PLACE) * metres
    np.testing.assert_allclose(place, [east, north], atol=0.7)
    assert 3.0 < found["properties"]["accuracy_m"] < 10.0
    (footprint,) = features(tmp_path / "out" / "a_footprint.geojson")
    assert shape(footprint["geometry"]).contains(Point(*PLACE))
    assert result.report["inputs"][0]["crs"] == "EPSG:32648"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"GimbalPitchDegree": ""}, "--pitch"),
        ({"GimbalYawDegree": ""}, "--heading"),
        ({"RelativeAltitude": ""}, "--takeoff-height"),
        ({"RelativeAltitude": "+0.2"}, "shows no ground"),
        ({"GimbalPitchDegree": "+45.0"}, "shows no ground"),
    ],
)
def test_what_is_missing_is_told_and_the_photo_mapped_in_pixels(
    model: Model, tmp_path: Path, change: dict[str, str], why: str
) -> None:
    photo = write_photo(tmp_path / "a.jpg", made_frame(0), DJI | change)
    result = only(run(model, photo, tmp_path / "out", options=MapOptions(overlap=16)))
    assert result.report["coordinates"] == "none"
    assert any("in pixels" in note and why in note for note in result.report["warnings"])


def test_options_fill_what_is_missing(model: Model, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", made_frame(0), DJI | {"GimbalPitchDegree": "", "GimbalYawDegree": ""})
    camera = CameraOptions(pitch=-80.0, yaw=10.0, fov=70.0)
    result = only(run(model, photo, tmp_path / "out", options=MapOptions(overlap=16, camera=camera)))
    assert result.report["coordinates"] == "earth"


def test_a_turned_photo_is_not_placed(model: Model, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", made_frame(0), DJI, orientation=6)
    result = only(run(model, photo, tmp_path / "out", options=MapOptions(overlap=16)))
    assert any("EXIF orientation" in note for note in result.report["warnings"])


def test_an_elevation_model_moves_what_lies_on_a_slope(tmp_path: Path) -> None:
    reading = Reading(*PLACE, relative_m=80.0, yaw=0.0, pitch=-60.0, film_mm=24.0)
    flat = Placer(CameraOptions()).place(reading, (120, 160))
    with Placer(CameraOptions(dem=str(write_dem(tmp_path / "d.tif", 30.0)), takeoff_height_m=1000.0)) as placer:
        sloping = placer.place(reading, (120, 160))
    corners = np.array([60.0, 60.0]), np.array([5.0, 155.0])
    moved = np.hypot(*(np.array(sloping.ground(*corners)) - np.array(flat.ground(*corners))))
    assert (moved > 10.0).all()


def test_a_model_that_does_not_cover_the_photo_is_refused(model: Model, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", made_frame(0), DJI | {"GpsLatitude": "40.0"})
    camera = CameraOptions(dem=str(write_dem(tmp_path / "dem.tif", 5.0)))
    with pytest.raises(InputError, match="does not cover"):
        run(model, photo, tmp_path / "out", options=MapOptions(overlap=16, camera=camera))
    assert not list((tmp_path / "out").glob("*.geojson"))


def test_a_camera_below_the_model_is_not_placed(tmp_path: Path) -> None:
    reading = Reading(*PLACE, absolute_m=500.0, yaw=0.0, pitch=-60.0, film_mm=24.0)
    with (
        Placer(CameraOptions(dem=str(write_dem(tmp_path / "d.tif", 5.0)))) as placer,
        pytest.raises(UnplacedError, match="not above the ground"),
    ):
        placer.place(reading, (120, 160))


def test_neighbouring_photos_agree_within_what_they_state() -> None:
    """The same ground, found by ORB features in overlapping pictures, gets nearly the same place from each of them.

    Errors of pictures a second apart are alike, so that far more than two thirds are within both accuracies together.
    """
    paths = sorted(shared("drone", "photos").glob("*.JPG"))
    placer, found = Placer(CameraOptions()), []
    for path in paths:
        facts = read_photo(path)
        assert facts.reading is not None
        grey = cv2.resize(
            np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)),
            None,
            fx=0.25,
            fy=0.25,
            interpolation=cv2.INTER_AREA,
        )
        keys, words = cv2.ORB_create(4000).detectAndCompute(grey, None)  # type: ignore[attr-defined]
        place = placer.place(facts.reading, facts.shape, focal_px=facts.focal_px)
        found.append((np.array([key.pt for key in keys]) * 4.0, words, place))
    for (points, words, place), (others, other_words, other_place) in itertools.pairwise(found):
        pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(words, other_words, k=2)
        matches = [best for best, second in pairs if best.distance < 0.85 * second.distance]
        here = points[[match.queryIdx for match in matches]]
        there = others[[match.trainIdx for match in matches]]
        _, inliers = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=15.0, maxIters=20000)
        same = inliers.ravel() > 0
        assert same.sum() >= 20
        ground = np.array(place.ground(here[same, 1], here[same, 0]))
        other_ground = np.array(other_place.ground(there[same, 1], there[same, 0]))
        apart = np.hypot(*(ground - other_ground))
        stated, other_stated = (p.accuracy(at[same, 1], at[same, 0]) for p, at in ((place, here), (other_place, there)))
        assert stated is not None
        assert other_stated is not None
        assert (apart <= np.hypot(stated, other_stated)).mean() > 0.9
        assert np.median(apart) < 4.0


def srt(seconds: int, *, gap: range = range(0)) -> str:
    lines = [
        f"{n + 1}\n00:00:{n:02d},000 --> 00:00:{n + 1:02d},000\n[latitude: {PLACE[1]:.6f}] "
        f"[longitude: {PLACE[0] + n * 1e-5:.6f}] [rel_alt: 60.0 abs_alt: 1060.0] [focal_len: 24.0] "
        "[gb_yaw: 0.0 gb_pitch: -90.0 gb_roll: 0.0]\n"
        for n in range(seconds)
        if n not in gap
    ]
    return "\n".join(lines)


def test_a_video_is_mapped_frame_by_frame(model: Model, tmp_path: Path) -> None:
    """Four seconds of telemetry for a video of eight: the rest is mapped in pixels, and told."""
    video = write_video(tmp_path / "flight.avi", 80)
    (tmp_path / "flight.SRT").write_text(srt(4), encoding="utf-8")
    result = only(run(model, video, tmp_path / "out", options=MapOptions(overlap=16, every_s=1.0)))
    found, pixels = features(result.files["geojson"]), features(result.files["pixels"])
    assert [feature["properties"]["frame"] for feature in found] == [0, 10, 20, 30, 40]
    assert [feature["properties"]["frame"] for feature in pixels] == [50, 60, 70]
    assert all(feature["properties"]["accuracy_m"] > 0 for feature in found)
    assert len(features(result.files["footprints"])) == 5
    assert any("3 of 8 frames" in note and "ends at 4.0 s" in note for note in result.report["warnings"])
    kml = result.files["kml"].read_text(encoding="utf-8")
    assert kml.count("<Placemark>") == len(found), "those without a place are in no KML"
    times = re.findall(r'<SimpleData name="time_s">([^<]*)<', kml)
    assert [float(time_s) for time_s in times] == [feature["properties"]["time_s"] for feature in found]
    east = [feature["properties"]["centroid_lon"] for feature in found[:4]]
    per_frame = 1e-5 + 10 * 60.0 / (24.0 * np.hypot(120, 160) / np.hypot(36, 24)) / 111_320.0 / np.cos(
        np.radians(PLACE[1])
    )
    np.testing.assert_allclose(np.diff(east), per_frame, atol=3e-6)


def test_the_same_video_again_is_kept_and_gives_the_same_bytes(model: Model, tmp_path: Path) -> None:
    video = write_video(tmp_path / "flight.avi", 20)
    (tmp_path / "flight.srt").write_text(srt(3), encoding="utf-8")
    first = only(run(model, video, tmp_path / "a", options=MapOptions(overlap=16)))
    again = only(run(model, video, tmp_path / "a", options=MapOptions(overlap=16)))
    other = only(run(model, video, tmp_path / "b", options=MapOptions(overlap=16)))
    assert (first.kept, again.kept, other.kept) == (False, True, False)
    for kind in ("geojson", "geopackage", "kml", "footprints", "preview"):
        assert first.files[kind].read_bytes() == other.files[kind].read_bytes(), kind
    with pytest.raises(OutputError, match="overwrite"):
        run(model, video, tmp_path / "a", options=MapOptions(overlap=16, threshold=0.9))


def test_gaps_are_told(model: Model, tmp_path: Path) -> None:
    video = write_video(tmp_path / "flight.avi", 100)
    (tmp_path / "flight.srt").write_text(srt(10, gap=range(2, 8)), encoding="utf-8")
    result = only(run(model, video, tmp_path / "out", options=MapOptions(overlap=16)))
    assert result.report["frames"]["placed"] == 5
    assert any("5 of 10 frames" in note and "gap" in note for note in result.report["warnings"])


@pytest.mark.parametrize("text", [None, "", "1\n00:00:00,000 --> 00:00:01,000\n[iso : 100]\n"])
def test_without_telemetry_a_video_is_in_pixels(model: Model, tmp_path: Path, text: str | None) -> None:
    video = write_video(tmp_path / "flight.avi", 20)
    if text is not None:
        (tmp_path / "flight.srt").write_text(text, encoding="utf-8")
    result = only(run(model, video, tmp_path / "out", options=MapOptions(overlap=16)))
    assert result.report["coordinates"] == "none"
    assert "footprints" not in result.files
    assert "kml" not in result.files
    assert len(features(result.files["geojson"])) == 2
    assert any("2 of 2 frames" in note for note in result.report["warnings"])


def test_the_cliff_has_a_footprint_a_second(model: Model, tmp_path: Path) -> None:
    video = shared("drone", "video", "gopro_karma.mp4")
    camera = CameraOptions(fov=86.0, pitch=0.0)
    options = MapOptions(overlap=16, threshold=0.8, min_area=5.0, camera=camera)
    result = only(run(model, video, tmp_path / "out", options=options))
    prints = features(result.files["footprints"])
    assert [entry["properties"]["frame"] for entry in prints] == [0, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 330]
    assert all(shape(entry["geometry"]).area > 0 for entry in prints)
    assert result.report["frames"]["telemetry"] == "GoPro Karma"


def test_frames_are_those_at_or_after_each_moment(tmp_path: Path) -> None:
    video = VideoFrames(write_video(tmp_path / "a.avi", 23, fps=7.0), 0.5)
    assert [frame.index for frame in video] == [0, 4, 7, 11, 14, 18, 21]
    video.close()


def test_broken_videos_are_refused(model: Model, tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"this is no video" * 100)
    with pytest.raises(InputError, match=r"no\.mp4 cannot be opened as a video"):
        run(model, tmp_path / "no.mp4", tmp_path / "out")


@pytest.mark.parametrize(
    ("place", "stream"),
    [
        ("rtsp://a/b", True),
        ("udp://:5600", True),
        ("http://a/v.mjpg", True),
        ("http://a/v.tif", False),
        ("a.mp4", False),
    ],
)
def test_what_is_a_stream(place: str, stream: bool) -> None:
    assert is_stream(place) == stream
    assert not is_stream(Path(place))


def test_a_stream_is_mapped_until_its_time_is_over(model: Model, tmp_path: Path) -> None:
    with live_camera() as camera:
        names, kept = map_stream(model, camera.url, tmp_path, MapOptions(overlap=16), None, live=LiveOptions(for_s=1.0))
    files = names.present(tmp_path)
    report = json.loads(files["report"].read_text(encoding="utf-8"))
    assert not kept
    assert report["frames"]["mapped"] == len(features(files["geojson"])) > 3
    assert report["coordinates"] == "none"


def test_a_slow_reader_gets_the_latest_frame_and_the_others_are_counted() -> None:
    with live_camera(fps=40.0) as camera:
        frames = LiveFrames(camera.url, LiveOptions(for_s=2.0))
        taken = []
        for frame in frames:
            taken.append(frame.index)
            time.sleep(0.3)
        counts, notes = frames.account()
        frames.close()
    assert np.diff(taken).min() > 3
    assert counts["dropped"] == counts["read"] - len(taken) > 20
    assert "dropped" in notes[0]


def test_a_broken_connection_is_made_again_within_five_seconds() -> None:
    with live_camera() as camera:
        frames = LiveFrames(camera.url, LiveOptions(for_s=8.0))
        taken = iter(frames)
        for _ in range(5):
            next(taken)
        camera.cut()
        begin = time.monotonic()
        while camera.connections < 2:
            next(taken)
        next(taken)
        assert time.monotonic() - begin < 5.0
        counts, _ = frames.account()
        frames.close()
    assert counts["reconnects"] == 1


def test_a_stream_that_never_answers_ends_in_a_sentence(model: Model, tmp_path: Path) -> None:
    with silent_server() as url:
        begin = time.monotonic()
        with pytest.raises(InputError, match="gave no frame in 1 s"):
            map_stream(model, f"{url}/v.mjpg", tmp_path, MapOptions(), None, live=LiveOptions(answer_s=1.0))
        assert time.monotonic() - begin < 5.0
    assert not list(tmp_path.iterdir())
