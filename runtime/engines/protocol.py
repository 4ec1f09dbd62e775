"""What the stream asks of an engine; a backend is one file beside this one."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes, Prediction

__all__ = ["Engine", "EngineInfo", "joined"]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Which hardware does the work and at which precision, for the report and the line that the user sees.

    model_sha256: of the model file; threads: of a CPU, 0 elsewhere; in_flight: most batches that are submitted
    and whose results are not yet taken, at least 1; reason: why this engine, where it is not what was asked for.
    """

    engine: str
    device: str
    precision: str
    model_sha256: str
    threads: int = 0
    in_flight: int = 1
    reason: str = ""

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        threads = f" ({self.threads} thread{'s' * (self.threads != 1)})" if self.threads else ""
        return f"{self.engine} on {self.device}{threads}, {self.precision}{why}"


def joined(*reasons: str) -> str:
    """Reasons on one line; empty ones fall away."""
    return "; ".join(reason for reason in reasons if reason)


class Engine(Protocol):
    """A model ready to run: bytes in, bytes out, always in full batches of one size."""

    @property
    def spec(self) -> ModelSpec:
        """The model's description of itself."""
        ...

    @property
    def info(self) -> EngineInfo:
        """Device, precision and provenance."""
        ...

    @property
    def batch(self) -> int:
        """Tiles in a batch; `submit` takes exactly this many."""
        ...

    def submit(self, tiles: Bytes) -> "Future[Prediction]":
        """Start inference on `tiles`, uint8, (batch, T, T, 3), RGB; the array may be reused once the future is done.

        The future raises EngineError when inference fails.
        """
        ...

    def close(self) -> None:
        """Release the device and its memory; idempotent."""
        ...
