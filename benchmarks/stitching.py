"""The native stitching loops against the best NumPy twin: the same bytes, and how many times as fast.

python -m calanddet.benchmarks.stitching
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime import _native
from calanddet.runtime.blend import rule_by_name
from calanddet.runtime.model import DEFAULT_BLEND, DEFAULT_OVERLAP
from calanddet.runtime.mosaic import twin
from calanddet.runtime.tiling import Axis

__all__ = ["main"]

TILE = 224
WIDTH = 6144
ROUNDS = 40


class FastestTwin:
    """The fastest NumPy found: products of weights made once and kept, one scratch array, no slicing of zeros."""

    def __init__(self) -> None:
        self._products: dict[tuple[int, int], NDArray[np.uint32]] = {}
        self._scratch = np.empty((TILE, TILE), np.uint32)

    def accumulate(
        self,
        sums: NDArray[np.uint32],
        tile: NDArray[np.uint8],
        rows: NDArray[np.uint16],
        cols: NDArray[np.uint16],
        col: int,
    ) -> None:
        """See calanddet.runtime.mosaic.twin.accumulate."""
        key = (rows.ctypes.data, cols.ctypes.data)
        if key not in self._products:
            self._products[key] = np.multiply.outer(rows, cols, dtype=np.uint32)
        np.multiply(self._products[key], tile, out=self._scratch)
        sums[:, col : col + TILE] += self._scratch


Accumulate = Callable[[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16], int], None]


def main() -> None:
    """Print medians over interleaved rounds of one tile row."""
    axis = Axis(WIDTH, TILE, DEFAULT_OVERLAP)
    weights = rule_by_name(DEFAULT_BLEND).weights(axis)
    tiles = np.random.default_rng(0).integers(0, 255, (axis.count, TILE, TILE), dtype=np.uint8)
    ways: dict[str, Accumulate] = {
        "native": _native.accumulate,
        "twin": twin.accumulate,
        "fastest NumPy": FastestTwin().accumulate,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, NDArray[np.uint32]] = {}
    for _ in range(ROUNDS):
        for name, accumulate in ways.items():
            sums = np.zeros((TILE, WIDTH), np.uint32)
            start = time.perf_counter()
            for index, col in enumerate(axis.origins):
                accumulate(sums, tiles[index], weights[1], weights[index], col)
            seconds[name].append(time.perf_counter() - start)
            results[name] = sums
    for name, times in seconds.items():
        same = "equal" if np.array_equal(results[name], results["native"]) else "DIFFERENT"
        median = statistics.median(times) / axis.count
        ratios = [other / own for own, other in zip(seconds["native"], times, strict=True)]
        print(f"{name:>14}: {median * 1e6:7.1f} us a tile, {statistics.median(ratios):5.2f} x native, sums {same}")


if __name__ == "__main__":
    main()
