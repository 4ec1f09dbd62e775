import threading
import time
from concurrent.futures import CancelledError
from itertools import pairwise

import numpy as np
import pytest

from calanddet.runtime import EngineError
from calanddet.runtime.engines.worker import Worker, pieces
from calanddet.runtime.types import Bytes, Prediction
from helpers.numbers import random_rgb

SIDE = 6


def batch_of(count: int, seed: int = 0) -> Bytes:
    return np.stack([random_rgb(seed + index, SIDE, SIDE) for index in range(count)])


def reds(tiles: Bytes) -> Prediction:
    return Prediction(tiles[..., 0].copy(), tiles[..., 1].mean(axis=(1, 2), dtype=np.float32))


@pytest.mark.parametrize("batch", range(1, 18))
def test_pieces_cover_a_batch_once_and_none_is_a_tile_alone(batch: int) -> None:
    cut = pieces(batch)
    assert cut[0].start == 0
    assert cut[-1].stop == batch
    assert all(before.stop == after.start for before, after in pairwise(cut))
    sizes = [piece.stop - piece.start for piece in cut]
    assert set(sizes) <= {2, 3} or batch == 1
    assert sizes.count(3) == (batch % 2 if batch > 1 else 0)


@pytest.mark.parametrize("batch", [1, 2, 3, 8, 11])
@pytest.mark.parametrize("lanes", [1, 2, 3, 7])
def test_lanes_give_what_one_thread_gives_in_the_order_of_the_tiles(batch: int, lanes: int) -> None:
    rng = np.random.default_rng(batch * 10 + lanes)

    def slow(tiles: Bytes) -> Prediction:
        time.sleep(float(rng.uniform(0, 0.003)))  # pieces overtake each other
        return reds(tiles)

    worker = Worker("test", (batch, SIDE, SIDE, 3), slow, lanes=lanes)
    given = [batch_of(batch, seed) for seed in range(0, 60, 20)]
    for tiles, future in zip(given, [worker.submit(tiles) for tiles in given], strict=True):
        wanted, found = reds(tiles), future.result()
        np.testing.assert_array_equal(found.probability, wanted.probability)
        np.testing.assert_array_equal(found.presence, wanted.presence)
    worker.close()


def test_lanes_compute_at_once() -> None:
    together = threading.Barrier(3, timeout=10)

    def meeting(tiles: Bytes) -> Prediction:
        together.wait()  # breaks, and fails the batch, unless three are here at once
        return reds(tiles)

    worker = Worker("test", (6, SIDE, SIDE, 3), meeting, lanes=3)
    worker.submit(batch_of(6)).result()
    worker.close()


def test_a_failed_piece_fails_the_batch_only_when_the_tiles_are_free() -> None:
    running = threading.Event()
    finished: list[int] = []

    def some(tiles: Bytes) -> Prediction:
        if tiles[0, 0, 0, 0] == 0:
            running.wait(10)
            raise ValueError("no such luck")
        running.set()
        time.sleep(0.05)
        finished.append(len(tiles))
        return reds(tiles)

    tiles = batch_of(4)
    tiles[:2], tiles[2:] = 0, 9
    worker = Worker("test", tiles.shape, some, lanes=2)
    with pytest.raises(EngineError, match="the test engine failed on a batch of 4: no such luck"):
        worker.submit(tiles).result()
    assert finished == [2]
    worker.close()


@pytest.mark.parametrize("lanes", [1, 2])
def test_closing_waits_for_what_runs_and_drops_what_waits(lanes: int) -> None:
    begun, go = threading.Semaphore(0), threading.Event()

    def held(tiles: Bytes) -> Prediction:
        begun.release()
        go.wait(10)
        return reds(tiles)

    worker = Worker("test", (2 * lanes, SIDE, SIDE, 3), held, lanes=lanes)
    first, second = worker.submit(batch_of(2 * lanes)), worker.submit(batch_of(2 * lanes))
    for _ in range(lanes):
        assert begun.acquire(timeout=10)
    threading.Timer(0.05, go.set).start()
    worker.close()
    assert len(first.result(timeout=10).probability) == 2 * lanes
    with pytest.raises(CancelledError):
        second.result(timeout=10)
    with pytest.raises(EngineError, match="closed"):
        worker.submit(batch_of(2 * lanes))
