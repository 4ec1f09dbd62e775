"""Whether the engine waits because the source is read too slowly."""

import time
from collections.abc import Callable

from calanddet.runtime.pipeline.stages import Stages

__all__ = ["Starvation"]

WATCHED_S = 20.0
"""Seconds that a verdict is about: a pause of a disk or a network is none."""
HUNGRY = 1 / 3
"""Share of them that the engine waits for tiles, from which a faster source would be felt."""
READING = 1 / 2
"""Share of them that reading takes, from which reading is the cause, and not this computer's own work on tiles."""


class Starvation:
    """Watches a stream from the thread that feeds its engine, and says once that reading is the bottleneck.

    Waits that end without a tile are left out: then there was nothing to infer, as in wide areas of nodata.
    """

    def __init__(self, stages: Stages, clock: Callable[[], float] = time.perf_counter) -> None:
        self._stages, self._clock = stages, clock
        self._begin: tuple[float, float] | None = None
        self._hungry = self._idle = self._waited = 0.0
        self._told = False

    def fed(self, *, tiles: bool) -> str:
        """Take note that a wait, stage "starved", has ended, with or without tiles; a sentence, once, or nothing."""
        if self._told:
            return ""
        now, waited, read = self._clock(), self._seconds("starved"), self._seconds("read")
        wait, self._waited = waited - self._waited, waited
        if self._begin is None:  # the first wait is for the first tiles of all, however fast the source is
            self._begin = now, read
            return ""
        if tiles:
            self._hungry += wait
        else:
            self._idle += wait
        took = now - self._begin[0] - self._idle
        if took < WATCHED_S:
            return ""
        hungry, reading = self._hungry / took, (read - self._begin[1]) / (took + self._idle)
        self._begin, self._hungry, self._idle = (now, read), 0.0, 0.0
        self._told = hungry >= HUNGRY and reading >= READING
        return _sentence(hungry, took) if self._told else ""

    def _seconds(self, stage: str) -> float:
        entry = self._stages.times.get(stage)
        return 0.0 if entry is None else entry.wall_s


def _sentence(hungry: float, seconds: float) -> str:
    return (
        f"reading this image is what takes the time: the engine waited for it in {hungry:.0%} of the last "
        f"{seconds:.0f} s, so a faster engine would not help; copy the image to a fast local disk, and if it lies "
        "there already, store it uncompressed or with LZW or ZSTD and in tiles (gdal_translate -co TILED=YES)"
    )
