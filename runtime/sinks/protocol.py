"""What the stream asks of whatever takes its results; a kind of result is one file beside this one."""

from typing import Protocol

from calanddet.runtime.polygons import Landslides
from calanddet.runtime.types import Bytes

__all__ = ["BandSink", "LandslideSink", "NullSink"]


class BandSink(Protocol):
    """Takes a map of probabilities in full-width bands, from its first row to its last."""

    def write(self, row: int, band: Bytes) -> None:
        """Take the rows from `row` on, uint8, (h, W): 0..254 probability, 255 nodata; `band` may be reused then.

        Raises OutputError.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds; idempotent."""
        ...


class LandslideSink(Protocol):
    """Takes the landslides of a map in groups, in the order of their numbers."""

    def write(self, landslides: Landslides, first_id: int) -> None:
        """Add landslides, numbered from `first_id` on."""
        ...

    def finish(self) -> None:
        """Complete what was written."""
        ...

    def close(self) -> None:
        """Let go of what it holds, finished or not; idempotent."""
        ...


class NullSink:
    """Takes a map and forgets it, so that a stream can be timed or tested without a disk; counts its rows."""

    def __init__(self) -> None:
        self.rows = 0

    def write(self, row: int, band: Bytes) -> None:
        """Count the band's rows, which must follow the last one's."""
        if row != self.rows:
            raise ValueError(f"the band begins at row {row}, not at {self.rows}")
        self.rows += len(band)

    def close(self) -> None:
        """Nothing to let go of."""
