"""Frames that come one after another, from a file or from a camera that does not wait."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from calanddet.runtime.types import Bytes

__all__ = ["Frame", "Frames"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """rgb: uint8, (H, W, 3), RGB; index: number of the frame from 0; time_s: seconds from the first."""

    index: int
    time_s: float
    rgb: Bytes


class Frames(Protocol):
    """Pictures in the order of their times; `close` lets go of where they come from, idempotent."""

    @property
    def path(self) -> str:
        """As it was given."""
        ...

    @property
    def expected(self) -> int:
        """How many are to come, as far as one knows; 0 where nobody does."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """The frames. Raises InputError where they cannot be had."""
        ...

    def account(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Counts for the report, and sentences for the user, once all were taken."""
        ...

    def close(self) -> None:
        """Let go."""
        ...
