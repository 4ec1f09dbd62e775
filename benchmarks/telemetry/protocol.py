"""What a meter is: names of quantities, and their values now."""

from typing import Protocol

__all__ = ["Meter", "MeterLost"]


class MeterLost(Exception):
    """A meter stopped answering (a GPU fell off the bus, a file is gone); the sampler notes it and goes on without."""


class Meter(Protocol):
    """One source of readings.

    A quantity's name ends with its unit: `_w` watts, `_j` joules (a counter that only rises), `_mhz`, `_c` degrees
    Celsius, `_bytes`, `_pct`, `_count` (events since some moment).
    """

    @property
    def name(self) -> str:
        """Where the readings come from."""
        ...

    @property
    def total(self) -> tuple[str, ...]:
        """Quantities, `_w` or `_j`, whose sum is the power or energy of all that `scope` names; empty where unknown."""
        ...

    @property
    def scope(self) -> str:
        """What `total` covers: "board", "module", "GPU 0", "processor packages"."""
        ...

    def read(self) -> dict[str, float]:
        """All quantities now. Raises MeterLost."""
        ...

    def close(self) -> None:
        """Release what is held; idempotent."""
        ...
