"""What this machine's processor does at most: a large matrix product, and moving memory."""

from collections.abc import Callable, Sequence

import numpy as np

from calanddet.benchmarks.clock import Clock
from calanddet.benchmarks.record import LimitRecord

__all__ = ["best_of", "best_seconds", "processor_limits"]

SIDE = 2048
MOVED = 64 * 2**20
ROUNDS = 5


def processor_limits(clock: Clock, *, side: int = SIDE, moved: int = MOVED) -> list[LimitRecord]:
    """The best of a few float32 products of `side` x `side` by NumPy's BLAS, with the threads that it takes, and of
    copies of `moved` bytes, each of which is read and written."""
    random = np.random.default_rng(0)
    left, right = (random.standard_normal((side, side), np.float32) for _ in range(2))
    out = np.empty_like(left)
    source = np.ones(moved, np.uint8)
    target = np.zeros(moved, np.uint8)
    product = best_seconds(lambda: np.matmul(left, right, out=out), clock)
    copy = best_seconds(lambda: np.copyto(target, source), clock)
    return [
        LimitRecord(f"NumPy matrix product {side}, float32", "CPU", flop_per_s=2 * side**3 / product),
        LimitRecord(f"NumPy copy of {moved >> 20} MiB", "CPU", bytes_per_s=2 * moved / copy),
    ]


def best_of(first: Sequence[LimitRecord], second: Sequence[LimitRecord]) -> list[LimitRecord]:
    """The higher of two measurements of the same limits."""
    return [
        max(pair, key=lambda one: one.flop_per_s or one.bytes_per_s or 0.0) for pair in zip(first, second, strict=True)
    ]


def best_seconds(work: Callable[[], object], clock: Clock) -> float:
    """Seconds of the fastest of ROUNDS calls, above 0."""
    seconds = []
    for _ in range(ROUNDS):
        before = clock.now()
        work()
        seconds.append(clock.now() - before)
    return max(min(seconds), 1e-9)
