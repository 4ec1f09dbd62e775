import os
import signal
import sys
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calanddet.runtime.blend import RULES, BlendRule
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.errors import EngineError, InputError, OptionError
from calanddet.runtime.model import Model
from calanddet.runtime.pipeline.stream import StreamStats, stream
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.tiling import TileGrid
from calanddet.runtime.types import Bool, Bytes, Pixels, Prediction, Window
from helpers.numbers import random_rgb

rules = st.sampled_from(sorted(RULES.values(), key=lambda rule: rule.name))


def mapped(
    source: ArraySource, engine: NullEngine, overlap: int, rule: BlendRule = RULES["hann"]
) -> tuple[Bytes, StreamStats]:
    bands: list[Bytes] = []
    grid = TileGrid.cover(source.info.shape, engine.spec.tile, overlap)
    stats = stream(source, engine, grid, rule=rule, emit=lambda row, band: bands.append(band))
    return np.concatenate(bands), stats


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 500), st.integers(0, 180), rules, st.integers(1, 9), st.integers(0, 2**31))
def test_the_stream_gives_back_what_a_null_engine_sees(
    height: int, width: int, overlap: int, rule: BlendRule, batch: int, seed: int
) -> None:
    image = random_rgb(seed, height, width)
    valid = np.random.default_rng(seed).random((height, width)) > 0.1
    engine = NullEngine(batch=batch, channel=seed % 3)
    try:
        result, stats = mapped(ArraySource(image, valid=valid), engine, overlap, rule)
    finally:
        engine.close()
    np.testing.assert_array_equal(result, np.where(valid, np.minimum(image[..., seed % 3], 254), 255))
    assert stats.tiles + stats.skipped == len(TileGrid.cover((height, width), 224, overlap))


def test_tiles_without_a_valid_pixel_are_not_inferred() -> None:
    valid = np.zeros((2300, 300), np.bool_)
    valid[1500, 7] = True
    engine = NullEngine(batch=4)
    result, stats = mapped(ArraySource(random_rgb(5, 2300, 300), valid=valid), engine, 0)
    engine.close()
    assert (result != 255).sum() == 1
    assert (stats.tiles, stats.batches, stats.skipped) == (1, 1, 21)


class Jittered(NullEngine):
    """Takes a random time, so that threads meet in another order each run."""

    def _infer(self, tiles: Bytes) -> Prediction:
        time.sleep(np.random.default_rng().random() * 0.004)
        return super()._infer(tiles)


def test_bytes_do_not_depend_on_timing() -> None:
    image = random_rgb(11, 700, 460)
    first: Bytes | None = None
    for _ in range(3):
        engine = Jittered(batch=2)
        result, _ = mapped(ArraySource(image), engine, 90)
        engine.close()
        assert first is None or np.array_equal(first, result)
        first = result


class Failing(NullEngine):
    """Fails on its third batch."""

    count = 0

    def _infer(self, tiles: Bytes) -> Prediction:
        self.count += 1
        if self.count == 3:
            raise ValueError("the device fell off the bus")
        return super()._infer(tiles)


class Torn(ArraySource):
    """Cannot be read below row 300."""

    def read(self, window: Window) -> Pixels:
        if window.stop_row > 300:
            raise InputError("the file ends at row 300")
        return super().read(window)


def no_stream_threads() -> bool:
    return not any(t.name in {"calanddet-reader", "calanddet-writer"} for t in threading.enumerate())


def test_a_failing_engine_stops_the_stream_with_its_reason() -> None:
    engine = Failing(batch=2)
    with pytest.raises(EngineError, match="fell off the bus"):
        mapped(ArraySource(random_rgb(1, 2000, 900)), engine, 0)
    assert no_stream_threads()
    engine.close()


def test_a_failing_source_stops_the_stream_with_its_reason() -> None:
    engine = NullEngine()
    with pytest.raises(InputError, match="row 300"):
        mapped(Torn(random_rgb(1, 900, 300)), engine, 0)
    assert no_stream_threads()
    engine.close()


def test_a_failing_sink_stops_the_stream_with_its_reason() -> None:
    def full(row: int, band: Bytes) -> None:
        raise OSError(28, "No space left on device")

    engine = NullEngine()
    source = ArraySource(random_rgb(1, 900, 300))
    with pytest.raises(OSError, match="No space"):
        stream(source, engine, TileGrid.cover((900, 300), 224, 0), rule=RULES["cut"], emit=full)
    assert no_stream_threads()
    engine.close()


def test_an_interrupted_caller_stops_the_stream() -> None:
    class Interrupting(NullEngine):
        def submit(self, tiles: Bytes) -> "Future[Prediction]":
            raise KeyboardInterrupt

    engine = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        mapped(ArraySource(random_rgb(1, 900, 300)), engine, 0)
    assert no_stream_threads()
    engine.close()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_while_the_last_bands_are_written_waits_for_the_writer() -> None:
    """All batches are with the engine, and the caller waits in the crew's end; emit must not be left running."""
    interrupted = threading.Event()
    rows: list[int] = []

    def emit(row: int, band: Bytes) -> None:
        rows.append(row)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        interrupted.set()

    engine = NullEngine(batch=8)
    with pytest.raises(KeyboardInterrupt):
        stream(
            ArraySource(random_rgb(1, 200, 210)),
            engine,
            TileGrid.cover((200, 210), 224, 0),
            rule=RULES["cut"],
            emit=emit,
        )
    assert interrupted.is_set()
    assert rows == [0]
    assert no_stream_threads()
    engine.close()


def test_the_cause_of_a_failure_comes_with_it() -> None:
    engine = Failing(batch=2)
    with pytest.raises(EngineError) as caught:
        mapped(ArraySource(random_rgb(1, 2000, 900)), engine, 0)
    assert isinstance(caught.value.__cause__, ValueError)
    engine.close()


def test_progress_reaches_the_total() -> None:
    seen: list[tuple[int, int]] = []
    engine = NullEngine(batch=3)
    grid = TileGrid.cover((500, 700), 224, 20)
    stream(
        ArraySource(random_rgb(2, 500, 700)),
        engine,
        grid,
        rule=RULES["crop"],
        emit=lambda row, band: None,
        progress=lambda done, total: seen.append((done, total)),
    )
    engine.close()
    assert seen[-1] == (len(grid), len(grid))
    assert seen == sorted(seen)


def test_a_closed_engine_and_a_wrong_batch_are_refused() -> None:
    engine = NullEngine(batch=2)
    with pytest.raises(EngineError, match=r"\(2, 224, 224, 3\)"):
        engine.submit(np.zeros((1, 224, 224, 3), np.uint8))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(np.zeros((2, 224, 224, 3), np.uint8))


def test_predict_maps_an_array() -> None:
    image = random_rgb(3, 250, 410)
    valid: Bool = np.ones((250, 410), np.bool_)
    valid[:, 400:] = False
    with Model(NullEngine(channel=1)) as model:
        result = model.predict(image, valid=valid)
        with pytest.raises(OptionError, match="223"):
            model.predict(image, overlap=224)
        with pytest.raises(InputError, match="float64"):
            model.predict(np.zeros((4, 5, 3)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(result, np.where(valid, np.minimum(image[..., 1], 254), 255))


def test_no_more_batches_are_in_flight_than_the_engine_takes() -> None:
    class Counting(NullEngine):
        waiting = most = 0

        def submit(self, tiles: Bytes) -> "Future[Prediction]":
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            future = super().submit(tiles)
            taken = future.result

            def result(timeout: float | None = None) -> Prediction:
                prediction = taken(timeout)
                self.waiting -= 1
                return prediction

            future.result = result  # type: ignore[method-assign]
            return future

    engine = Counting(batch=1)
    mapped(ArraySource(random_rgb(4, 900, 900)), engine, 0)
    engine.close()
    assert engine.most == engine.info.in_flight
    assert engine.waiting == 0
