"""What a GPU engine of any kind has to be able to do: put one batch on a stream."""

from dataclasses import dataclass
from typing import Protocol

from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.spec import ModelSpec

__all__ = ["Addresses", "Network"]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a batch is on the device: tiles uint8 (B, T, T, 3), probability uint8 (B, T, T), presence float32 (B,)."""

    tiles: int
    probability: int
    presence: int


class Network(Protocol):
    """A model that was loaded for one batch size; used and closed by one thread, that of its context."""

    @property
    def spec(self) -> ModelSpec:
        """The model's description of itself."""
        ...

    @property
    def batch(self) -> int:
        """Tiles that every `enqueue` computes."""
        ...

    @property
    def capturable(self) -> bool:
        """Whether `enqueue` may be captured into a CUDA graph."""
        ...

    @property
    def note(self) -> str:
        """What the user should know about how it runs, "" for nothing."""
        ...

    def enqueue(self, at: Addresses, stream: Stream) -> None:
        """Queue one batch without waiting for it. Raises EngineError where the library refuses."""
        ...

    def close(self) -> None:
        """Give back what was loaded; the stream is idle then; idempotent."""
        ...
