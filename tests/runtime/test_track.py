"""A stream that begins in the middle gives the rest of the same map, from the same batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calanddet.runtime.blend import RULES
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.pipeline.stream import StreamStats, stream
from calanddet.runtime.pipeline.track import Restart, Track
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bool, Bytes, Prediction
from helpers.numbers import random_rgb

COUNTS = ("tiles", "skipped", "batches", "tiles_with_presence")


class Positional(NullEngine):
    """An engine whose bytes depend on a tile's slot and companions, as the last bits of a real one may."""

    def _infer(self, tiles: Bytes) -> Prediction:
        plain = super()._infer(tiles)
        slot = np.arange(len(tiles), dtype=np.uint8)[:, None, None]
        crowd = np.uint8(tiles.astype(np.int64).sum() % 97)
        return Prediction(np.minimum(plain.probability // 3 + slot + crowd, 254).astype(np.uint8), plain.presence)


def patchy(seed: int, height: int, width: int) -> Bool:
    """bool, (height, width): a map with stretches of nodata, so that rows and tiles are skipped."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 90 + 1, width // 70 + 1)) > 0.55
    return np.kron(coarse, np.ones((90, 70), np.bool_)).astype(np.bool_)[:height, :width]


def streamed(
    source: ArraySource, batch: int, overlap: int, rule: str, row: int | None = None, begin: Restart = Restart()
) -> tuple[Bytes, StreamStats, list[Restart]]:
    """What is emitted, in one array, what was counted, and the restarts for `row` noted after every band below it."""
    grid = TileGrid.cover(source.info.shape, 224, overlap)
    track, bands, restarts = Track(grid, begin), [np.empty((0, source.info.shape[1]), np.uint8)], []
    done = begin.row

    def emit(first: int, band: Bytes) -> None:
        nonlocal done
        assert first == done
        done += len(band)
        bands.append(band.copy())
        if row is not None and done >= row:
            restarts.append(track.restart(row))

    engine = Positional(batch=batch)
    try:
        stats = stream(source, engine, grid, rule=RULES[rule], emit=emit, track=track)
    finally:
        engine.close()
    return np.concatenate(bands), stats, restarts


@settings(max_examples=25, deadline=None)
@given(
    st.integers(230, 1900),
    st.integers(30, 500),
    st.integers(0, 190),
    st.sampled_from(sorted(RULES)),
    st.integers(1, 7),
    st.integers(0, 2**31),
    st.floats(0, 1),
)
def test_the_rest_of_a_map_is_the_same_from_anywhere(
    height: int, width: int, overlap: int, rule: str, batch: int, seed: int, share: float
) -> None:
    source = ArraySource(random_rgb(seed, height, width), valid=patchy(seed, height, width))
    row = round(share * height)
    whole, stats, restarts = streamed(source, batch, overlap, rule, row)
    assert len(set(restarts)) == 1, "later batches do not change where a row's tiles begin"
    rest, again, _ = streamed(source, batch, overlap, rule, begin=restarts[0])
    np.testing.assert_array_equal(rest, whole[row:])
    assert [getattr(again, name) for name in COUNTS] == [getattr(stats, name) for name in COUNTS]


def test_a_finished_map_begins_below_its_last_tile() -> None:
    source = ArraySource(random_rgb(3, 500, 300))
    grid = TileGrid.cover((500, 300), 224, 30)
    track = Track(grid)
    engine = NullEngine(batch=2)
    stats = stream(source, engine, grid, rule=RULES["hann"], emit=lambda row, band: None, track=track)
    end = track.restart(500)
    assert (end.row, end.tile_row, end.tile_col, end.tiles) == (500, grid.rows.count, 0, stats.tiles)
    again = stream(source, engine, grid, rule=RULES["hann"], emit=lambda row, band: None, track=Track(grid, end))
    engine.close()
    assert (again.tiles, again.batches) == (stats.tiles, stats.batches)
    assert "read" not in again.stages.times


def test_little_is_cut_again() -> None:
    """No more than the tile rows that reach the row, and the batch that began before them."""
    source = ArraySource(random_rgb(4, 3000, 260))
    _, stats, restarts = streamed(source, 4, 56, "hann", 2048)
    begun = restarts[0]
    grid = TileGrid.cover((3000, 260), 224, 56)
    reaching = next(index for index, origin in enumerate(grid.rows.origins) if origin + 224 > 2048)
    assert begun.tiles > reaching * grid.cols.count - 4
    assert 0 < begun.tiles < stats.tiles


def test_strips_lie_where_those_from_the_top_do() -> None:
    """So that a restarted run reads the same windows, and decodes no block twice."""
    reads: list[tuple[int, int]] = []

    class Watched(ArraySource):
        def read(self, window):  # type: ignore[no-untyped-def]
            reads.append((window.row, window.stop_row))
            return super().read(window)

    source = Watched(random_rgb(5, 2500, 260))
    _, _, restarts = streamed(source, 3, 56, "hann", 1700)
    whole, reads[:] = list(reads), []
    streamed(source, 3, 56, "hann", begin=restarts[0])
    assert reads == whole[-len(reads) :]
    assert len(reads) < len(whole)


def test_a_restart_counts_from_nought() -> None:
    with pytest.raises(ValueError, match="tile_col"):
        Restart(tile_col=-1)
