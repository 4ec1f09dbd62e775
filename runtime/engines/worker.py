"""A thread of its own for an engine that computes synchronously, so that the stream can go on meanwhile."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from calanddet.runtime.errors import CalanddetError, EngineError
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["WAITING", "Worker", "check_tiles"]

WAITING = 2
"""Batches to keep in flight: one that is computed, and one that waits, so that the next starts at once."""


def check_tiles(name: str, tiles: Bytes, shape: tuple[int, int, int, int]) -> None:
    """Raise EngineError unless `tiles` is uint8 of exactly `shape`: (batch, tile, tile, 3)."""
    if tiles.shape != shape or tiles.dtype.name != "uint8":
        raise EngineError(f"the {name} engine takes uint8 {shape}, not {tiles.dtype} {tiles.shape}")


class Worker:
    """Runs `infer` on one thread, in the order of submission; checks what goes in, names what goes wrong."""

    def __init__(self, name: str, shape: tuple[int, int, int, int], infer: Callable[[Bytes], Prediction]) -> None:
        """`shape` is (batch, tile, tile, 3): the only shape that `submit` takes."""
        self._name, self._shape, self._infer = name, shape, infer
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix=f"calanddet-{name}")

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """Start inference on uint8 tiles of exactly the worker's shape. Raises EngineError after `close`."""
        if self._thread is None:
            raise EngineError(f"the {self._name} engine is closed")
        check_tiles(self._name, tiles, self._shape)
        return self._thread.submit(self._run, tiles)

    def _run(self, tiles: Bytes) -> Prediction:
        try:
            return self._infer(tiles)
        except CalanddetError:
            raise
        except Exception as error:  # whatever a backend throws becomes one error of ours, with its cause
            raise EngineError(f"the {self._name} engine failed on a batch of {tiles.shape[0]}: {error}") from error

    def close(self) -> None:
        """Wait for what runs, drop what waits; idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=True, cancel_futures=True)
