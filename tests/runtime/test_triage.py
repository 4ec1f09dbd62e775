"""Triage: a first look at half the resolution decides which tiles are inferred, and nothing else about them."""

from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calanddet.runtime.blend import RULES
from calanddet.runtime.catalog import SHIPPED, resolve_model
from calanddet.runtime.errors import EngineError, ModelError, OptionError
from calanddet.runtime.evaluation import EvaluationOptions
from calanddet.runtime.evaluation.samples import Sample
from calanddet.runtime.evaluation.triage import looked_at, measure_triage
from calanddet.runtime.model import Model
from calanddet.runtime.pipeline.stream import StreamStats, stream
from calanddet.runtime.pipeline.track import Restart, Track
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.triage import (
    ScoutGrid,
    Triage,
    TriageFigures,
    TriagePoint,
    decimated,
    read_figures,
    triage_of,
    triage_path,
)
from calanddet.runtime.types import Bool, Bytes, Prediction, Window
from helpers.engines import SlantedEngine
from helpers.maps import blobs
from helpers.numbers import random_rgb

TILE = 32
sides = st.integers(1, 300)
overlaps = st.integers(0, 15)


def patchy(seed: int, height: int, width: int) -> Bytes:
    """An image whose red is low over wide areas and high over others."""
    red = np.minimum(blobs(seed, height=height, width=width, cell=50), 254)
    return np.stack([red, red // 2, 255 - red], axis=2)


def gappy(seed: int, height: int, width: int) -> Bool:
    """Valid but for a wide gap, some columns and single pixels."""
    rng = np.random.default_rng(seed)
    valid = rng.random((height, width)) > 0.05
    valid[height // 4 : height // 2] = False
    valid[:, width // 3 : width // 2] &= rng.random() > 0.5
    return valid


class Companions(SlantedEngine):
    """A look's presence depends on what else is in its batch, as the last bits of a real engine may."""

    @staticmethod
    def presence(tiles: Bytes) -> NDArray[np.float32]:
        crowd = int(tiles[:, ::4, ::4].sum(dtype=np.int64)) % 7
        presence: NDArray[np.float32] = SlantedEngine.presence(tiles) + np.float32(crowd / 50)
        return presence


def streamed(
    source: ArraySource,
    presence: float | None,
    *,
    batch: int = 2,
    overlap: int = 8,
    begin: Restart = Restart(),
    kind: type[SlantedEngine] = SlantedEngine,
) -> tuple[Bytes, StreamStats]:
    """The map of `source` from a row on."""
    bands: list[Bytes] = []
    engine = kind(tile=TILE, batch=batch)
    grid = TileGrid.cover(source.info.shape, TILE, overlap)
    stats = stream(
        source,
        engine,
        grid,
        rule=RULES["hann"],
        emit=lambda row, band: bands.append(band.copy()),
        track=Track(grid, begin),
        triage=presence,
    )
    return np.concatenate(bands), stats


@settings(max_examples=60, deadline=None)
@given(sides, sides, overlaps, st.integers(0, 2**31))
def test_a_tile_is_worth_it_where_it_shares_a_pixel_with_a_promising_look(
    height: int, width: int, overlap: int, seed: int
) -> None:
    tiles = TileGrid.cover((height, width), TILE, overlap)
    grid = ScoutGrid.over(tiles)
    shape = grid.looks.rows.count, grid.looks.cols.count
    promising = np.random.default_rng(seed).random(shape) < 0.3
    shown = np.zeros((height, width), np.bool_)
    for row, col in np.argwhere(promising):
        shown[cut(grid.window(row, col))] = True
    for row, origin in enumerate(tiles.rows.origins):
        wanted = [shown[origin : origin + TILE, col : col + TILE].any() for col in tiles.cols.origins]
        assert grid.worth(promising[np.array(grid.look_rows(row))]).tolist() == wanted
    presence = np.where(promising, 0.75, 0.25).astype(np.float32)
    wanted = [shown[cut(window)].any() for window in tiles]
    assert (grid.highest(presence) == 0.75).ravel().tolist() == wanted


def cut(window: Window) -> tuple[slice, slice]:
    return slice(window.row, window.stop_row), slice(window.col, window.stop_col)


def test_looks_are_means_of_fours_and_a_seventh_of_the_tiles() -> None:
    image = random_rgb(5, 64, 96)
    fours = image.reshape(32, 2, 48, 2, 3).sum(axis=(1, 3), dtype=np.uint16)
    np.testing.assert_array_equal(decimated(image), (fours + 2) // 4)
    tiles = TileGrid.cover((20_000, 30_000), 224, 56)
    assert len(ScoutGrid.over(tiles).looks) / len(tiles) == pytest.approx(1 / 7, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(sides, sides, overlaps, st.integers(1, 5), st.sampled_from([0.05, 0.3, 0.5, 0.7, 1.0]), st.integers(0, 2**31))
def test_promising_ground_is_mapped_as_without_triage_and_the_rest_is_no_landslide(
    height: int, width: int, overlap: int, batch: int, presence: float, seed: int
) -> None:
    image, valid = patchy(seed, height, width), gappy(seed, height, width)
    source = ArraySource(image, valid=valid)
    whole, all_of_it = streamed(source, None, batch=batch, overlap=overlap)
    found, stats = streamed(source, presence, batch=batch, overlap=overlap)
    grid = ScoutGrid.over(TileGrid.cover((height, width), TILE, overlap))
    told = looked_at(SlantedEngine(tile=TILE, batch=batch), grid, image * valid[..., None], valid)
    promising = np.zeros((height, width), np.bool_)
    for row, col in np.argwhere(told >= np.float32(presence)):
        promising[cut(grid.window(row, col))] = True
    np.testing.assert_array_equal(found[promising], whole[promising])
    worth = np.zeros((height, width), np.bool_)
    tiles = 0
    for window in grid.tiles:
        if promising[cut(window)].any() and valid[cut(window)].any():
            worth[cut(window)] = True
            tiles += 1
    np.testing.assert_array_equal(found[~worth], np.where(valid, 0, 255)[~worth])
    assert (found <= whole).all()
    assert stats.tiles == tiles
    assert stats.looks == np.isfinite(told).sum()
    assert (stats.skipped, stats.tiles + stats.passed) == (all_of_it.skipped, all_of_it.tiles)


def test_from_wherever_a_stream_begins_again_the_map_is_the_same() -> None:
    image = patchy(3, 400, 230)
    source, grid = ArraySource(image), TileGrid.cover((400, 230), TILE, 8)
    places: list[tuple[int, Restart]] = []
    track = Track(grid)
    bands: list[Bytes] = []

    def emit(row: int, band: Bytes) -> None:
        bands.append(band.copy())
        if row + len(band) < 400:
            places.append((row + len(band), track.restart(row + len(band))))

    engine = Companions(tile=TILE, batch=3)
    whole = stream(source, engine, grid, rule=RULES["hann"], emit=emit, track=track, triage=0.65)
    assert whole.passed > 10
    assert whole.tiles > 10
    assert len(places) > 10
    for row, place in places:
        rest, stats = streamed(source, 0.65, batch=3, begin=place, kind=Companions)
        np.testing.assert_array_equal(rest, np.concatenate(bands)[row:])
        for count in ("tiles", "skipped", "batches", "tiles_with_presence", "passed", "looks"):
            assert getattr(stats, count) == getattr(whole, count), (count, row)


class Breaking(SlantedEngine):
    """Fails on its third batch, which is of first looks."""

    count = 0

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        self.count += 1
        if self.count == 3:
            raise EngineError("the device fell off the bus")
        return super().submit(tiles)


def test_an_engine_that_fails_at_a_first_look_stops_the_stream_with_its_reason() -> None:
    source = ArraySource(patchy(3, 300, 300))
    grid = TileGrid.cover((300, 300), TILE, 8)
    engine = Breaking(tile=TILE, batch=2)
    with pytest.raises(EngineError, match="fell off the bus"):
        stream(source, engine, grid, rule=RULES["hann"], emit=lambda row, band: None, triage=0.5)


def test_what_is_measured_is_no_less_than_what_is_lost() -> None:
    """And the tiles that it tells are those that the stream takes."""
    rng = np.random.default_rng(4)
    samples = []
    for seed, (height, width) in enumerate([(150, 210), (75, 260), (40, 30)]):
        image = patchy(seed, height, width)
        truth = (rng.random((height, width)) < 0.7).astype(np.uint8)
        samples.append(Sample("made", str(seed), image, truth, gappy(seed, height, width)))
    engine = SlantedEngine(tile=TILE, batch=2)
    figures = measure_triage(Model(engine), samples, options=EvaluationOptions(overlap=8, blend="hann"))
    for point in figures.curve[::3]:
        lost = pixels = passed = 0
        for sample in samples:
            source = ArraySource(sample.rgb, valid=sample.valid)
            whole, _ = streamed(source, None)
            found, stats = streamed(source, point.presence)
            right = (whole >= 127) & (whole != 255) & (sample.truth != 0)
            lost += int((right & (found < 127)).sum())
            pixels += int(right.sum())
            passed += stats.passed
        assert pixels == figures.pixels
        assert passed == round(point.passed * figures.tiles)
        assert lost <= round(point.lost * pixels)
    lost_shares = [point.lost for point in figures.curve]
    assert lost_shares == sorted(lost_shares)
    assert lost_shares[0] < 0.05
    assert lost_shares[-1] > 0.2
    assert figures.looks == sum(len(ScoutGrid.over(TileGrid.cover(s.truth.shape, TILE, 8)).looks) for s in samples)


def figures(*lost: float, sha256: str = "ab" * 32) -> TriageFigures:
    curve = tuple(TriagePoint(round(0.1 * n, 1), share, n % 2, 0.05 * n) for n, share in enumerate(lost, start=1))
    return TriageFigures(sha256, images=7, pixels=4321, tiles=200, looks=50, curve=curve, about={"overlap": 56})


def test_the_highest_presence_up_to_one_half_that_loses_little_is_taken(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    figures(0.0, 0.001, 0.004, 0.02).write(triage_path(model))
    assert read_figures(triage_path(model)) == figures(0.0, 0.001, 0.004, 0.02)
    triage = triage_of(model, "ab" * 32)
    assert triage.presence == 0.3
    assert "lost at most 0.40% of the landslide pixels" in triage.evidence
    assert "1.10 times the tiles" in triage.evidence
    figures(0, 0, 0, 0, 0, 0, 0, 0, 0).write(triage_path(model))
    assert triage_of(model, "ab" * 32).presence == 0.5, "beyond it the network says that there is none"


def test_a_model_that_loses_too_much_or_was_not_measured_is_refused_with_the_figures(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    with pytest.raises(ModelError, match=r"nobody has measured.*net\.onnx.*evaluate MODEL IMAGES --triage"):
        triage_of(model, "ab" * 32)
    figures(0.0123, 0.4).write(triage_path(model))
    with pytest.raises(ModelError, match=r"does not qualify.*0\.5%.*presence 0\.1 lost at most 1\.23%"):
        triage_of(model, "ab" * 32)
    forced = triage_of(model, "ab" * 32, presence=0.15)
    assert forced.presence == 0.15
    assert "40.00%" in forced.evidence, "what is told is of the next higher presence that was measured"
    with pytest.raises(ModelError, match="nobody has measured"):
        triage_of(model, "cd" * 32)
    assert "nobody has measured" in triage_of(model, "cd" * 32, presence=0.15).evidence
    triage_path(model).write_text('{"format": 1, "curve": [3]}', encoding="utf-8")
    with pytest.raises(ModelError, match="triage"):
        triage_of(model, "ab" * 32)
    for presence in (0.0, 1.5):
        with pytest.raises(OptionError, match="above 0 and at most 1"):
            Triage(presence)


def test_the_shipped_model_has_figures_of_its_own() -> None:
    """After a training: `calanddet evaluate calanddet-edge DATA/val --triage --overwrite`."""
    for name in SHIPPED:
        model = resolve_model(name)
        found = read_figures(triage_path(model))
        assert found is not None
        assert found.model_sha256 == sha256(model.read_bytes()).hexdigest()
        assert triage_of(model, found.model_sha256).presence <= 0.5
