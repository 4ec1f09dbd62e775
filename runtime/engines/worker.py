"""Threads of its own for an engine that computes synchronously, so that the stream can go on meanwhile."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from calanddet.runtime.errors import CalanddetError, EngineError
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["PIECE", "WAITING", "Worker", "check_tiles", "pieces"]

WAITING = 2
"""Batches to keep in flight: one that is computed, and one that waits, so that the next starts at once."""
PIECE = 2
"""Tiles that a lane takes at a time: few enough for a core's cache; one alone has other last bits than two."""


def check_tiles(name: str, tiles: Bytes, shape: tuple[int, int, int, int]) -> None:
    """Raise EngineError unless `tiles` is uint8 of exactly `shape`: (batch, tile, tile, 3)."""
    if tiles.shape != shape or tiles.dtype.name != "uint8":
        raise EngineError(f"the {name} engine takes uint8 {shape}, not {tiles.dtype} {tiles.shape}")


def pieces(batch: int) -> list[slice]:
    """A batch cut for lanes: pieces of two tiles, the last of three where the batch is odd; one tile stays one."""
    starts = range(0, max(1, batch - batch % PIECE), PIECE)
    return [slice(start, start + PIECE) for start in starts[:-1]] + [slice(starts[-1], batch)]


class Worker:
    """Runs `infer` in the order of submission; checks what goes in, names what goes wrong.

    With several lanes, `infer` is called by as many threads at once, each with a piece of a batch: every core then has
    tiles of its own, and none waits for another between two operators.
    """

    def __init__(
        self, name: str, shape: tuple[int, int, int, int], infer: Callable[[Bytes], Prediction], *, lanes: int = 1
    ) -> None:
        """`shape` is (batch, tile, tile, 3): the only shape that `submit` takes."""
        self._name, self._shape, self._infer = name, shape, infer
        self._pieces = pieces(shape[0]) if lanes > 1 else [slice(0, shape[0])]
        self._threads: ThreadPoolExecutor | None = ThreadPoolExecutor(lanes, thread_name_prefix=f"calanddet-{name}")

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """Start inference on uint8 tiles of exactly the worker's shape. Raises EngineError after `close`."""
        if self._threads is None:
            raise EngineError(f"the {self._name} engine is closed")
        check_tiles(self._name, tiles, self._shape)
        try:
            parts = [self._threads.submit(self._run, tiles[piece]) for piece in self._pieces]
        except RuntimeError as error:  # another thread closed the engine meanwhile
            raise EngineError(f"the {self._name} engine is closed") from error
        return parts[0] if len(parts) == 1 else _together(parts)

    def _run(self, tiles: Bytes) -> Prediction:
        try:
            return self._infer(tiles)
        except CalanddetError:
            raise
        except Exception as error:  # whatever a backend throws becomes one error of ours, with its cause
            raise EngineError(f"the {self._name} engine failed on a batch of {self._shape[0]}: {error}") from error

    def close(self) -> None:
        """Wait for what runs, drop what waits; idempotent."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=True, cancel_futures=True)


def _together(parts: "Sequence[Future[Prediction]]") -> "Future[Prediction]":
    """One future of all parts, done when the last of them is, whatever became of it: the tiles are free only then."""
    whole: Future[Prediction] = Future()
    whole.set_running_or_notify_cancel()  # the pieces cannot be called back together
    left = [len(parts)]
    lock = threading.Lock()

    def done(_: "Future[Prediction]") -> None:
        with lock:
            left[0] -= 1
            if left[0]:
                return
        try:
            found = [part.result() for part in parts]
            whole.set_result(
                Prediction(
                    np.concatenate([one.probability for one in found]), np.concatenate([one.presence for one in found])
                )
            )
        except BaseException as error:  # CancelledError of a closed worker, too
            whole.set_exception(error)

    for part in parts:
        part.add_done_callback(done)
    return whole
