"""How a running stream is doing, for whoever shows its progress."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from calanddet.runtime.pipeline.channel import Fill
from calanddet.runtime.pipeline.stages import Stages

__all__ = ["Vitals", "Watcher"]


@dataclass(frozen=True, slots=True, eq=False)
class Vitals:
    """A live view of one stream, to be read from any thread while it runs and after.

    begun: tiles that were done before, by the run that this one goes on with. queues: by name, `ready` batches that
    were read and wait for the engine, `sent` ones whose results wait to be written or to be computed.
    """

    begun: int
    stages: Stages
    queues: Mapping[str, Fill] = field(default_factory=dict)

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds that each stage has taken, without what is under way; stages overlap."""
        return {name: time.wall_s for name, time in sorted(dict(self.stages.times).items())}

    @property
    def waiting(self) -> dict[str, tuple[int, int]]:
        """(waiting, room in all) of each queue."""
        return {name: (queue.waiting, queue.capacity) for name, queue in self.queues.items()}


@runtime_checkable
class Watcher(Protocol):
    """What a progress function may be besides: told of each stream before it begins."""

    def watch(self, vitals: Vitals) -> None:
        """Take the view of the stream that begins now."""
        ...
