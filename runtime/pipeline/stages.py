"""How long each stage of the stream took, in wall seconds and in seconds of its thread on a core."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["StageTime", "Stages"]


@dataclass(slots=True)
class StageTime:
    """wall_s: elapsed, waiting included; cpu_s: what the calling thread itself computed."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


@dataclass(slots=True)
class Stages:
    """Stage times by name; a name belongs to one thread. `listener` is told the name and wall seconds of each entry."""

    times: dict[str, StageTime] = field(default_factory=dict)
    listener: Callable[[str, float], None] | None = None

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time spent inside to stage `name`."""
        entry = self.times.setdefault(name, StageTime())
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            took = time.perf_counter() - wall
            entry.wall_s += took
            entry.cpu_s += time.thread_time() - cpu
            if self.listener is not None:
                self.listener(name, took)
