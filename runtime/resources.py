"""What of this computer a run may use beside the model: threads and memory. No byte of the map depends on it."""

from dataclasses import dataclass

from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.errors import OptionError

__all__ = ["MOST_WORKERS", "Resources", "default_workers"]

MOST_WORKERS = 4
"""Threads that decode, and that compress, unasked: more would wait for the one that cuts, or that stitches."""


@dataclass(frozen=True, slots=True)
class Resources:
    """workers: threads that decode the image and as many that compress the map, None for what suits the engine;
    memory: bytes for rows on their way and decoded blocks, the model not counted, None for half of what is free."""

    workers: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= 256:
            raise OptionError(f"workers are 1 to 256 threads, not {self.workers}")
        if self.memory is not None and self.memory < 1:
            raise OptionError(f"the memory is a positive number of bytes, not {self.memory}")

    def workers_beside(self, engine: EngineInfo) -> int:
        """The workers that were asked for, or those that suit the engine."""
        return default_workers(engine) if self.workers is None else self.workers


def default_workers(engine: EngineInfo, cores: int | None = None) -> int:
    """One where the network runs on the processor, whose cores it needs itself; with a GPU, the cores but two, at most
    MOST_WORKERS: one reads and one stitches beside them."""
    from calanddet.runtime.engines.ort import usable_cores

    if engine.threads:
        return 1
    return max(1, min(MOST_WORKERS, (cores or usable_cores()) - 2))
