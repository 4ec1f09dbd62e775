"""What the stream asks of imagery: a description, windows of pixels, a small picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar, runtime_checkable

from numpy.typing import NDArray

from calanddet.runtime.georef import Georeference
from calanddet.runtime.stretch import Stretch
from calanddet.runtime.types import Pixels, Window

__all__ = ["InPanels", "InParts", "Interruptible", "OpenSource", "Sampled", "Source", "SourceInfo"]

Own = TypeVar("Own")


@dataclass(frozen=True, slots=True, eq=False)
class SourceInfo:
    """Facts about an input that the stream, the outputs and the report need.

    path: as it was given; name: its stem, from which output names are made; shape: (rows, cols) in pixels.
    dtype: of the bands as stored; bands: 1-based numbers of those read as red, green and blue.
    block: (rows, cols) of a storage block; strips whose borders lie on its rows are never decoded twice.
    gsd_m: mean ground size of a pixel at the centre, metres; None where it is not known.
    stretch: how values become bytes; None where they are bytes already.
    identity: what tells whether the input changed, as JSON knows it: {"bytes": total size of all files concerned,
    "mtime_ns": of the youngest, "files": [[name, bytes, mtime_ns], ...]}.
    notes: sentences for the user. reading: how its pixels are read (rules of validity, overviews), in words that two
    openings of one file share. reduced: whether a smaller copy is stored, so that a thumbnail is quick.
    decoded_bytes: of decoded blocks that GDAL has to keep between strips, beside what one takes (see decoding.py).
    carried_bytes: of pixels that the source itself keeps from one window for the next, in strips from top to bottom.
    """

    path: str
    name: str
    shape: tuple[int, int]
    georeference: Georeference
    dtype: str
    bands: tuple[int, ...]
    block: tuple[int, int]
    gsd_m: float | None
    stretch: Stretch | None
    identity: dict[str, Any]
    notes: tuple[str, ...]
    reading: str = ""
    reduced: bool = False
    decoded_bytes: int = 0
    carried_bytes: int = 0


class Source(Protocol):
    """An open image, read by one thread at a time; `contextlib.closing` or its own `with` closes it."""

    @property
    def info(self) -> SourceInfo:
        """What is known before a pixel is read."""
        ...

    def read(self, window: Window) -> Pixels:
        """The pixels of `window`, in arrays of their own; what lies outside the raster is black and not valid.

        Raises InputError when the file cannot be read there.
        """
        ...

    def thumbnail(self, longest: int) -> Pixels:
        """The whole image, its longer side at most `longest` pixels; never enlarged.

        Raises InputError when the file cannot be read, OptionError when `longest` is not positive.
        """
        ...

    def close(self) -> None:
        """Release the file; idempotent."""
        ...


class OpenSource(Source, Protocol):
    """A source that is its own context manager."""

    def __enter__(self: Own) -> Own: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Sampled(Protocol):
    """A source whose values, before they become bytes, can be looked at."""

    def sample(self, windows: int) -> list[NDArray[Any]]:
        """Valid values as stored, 1-D, from at most so many windows along each side; see `sample_windows`.

        Raises InputError when the file cannot be read there.
        """
        ...


@runtime_checkable
class Interruptible(Protocol):
    """A source that may wait for its data."""

    def interrupt(self) -> None:
        """Wait no longer, in whatever thread; `read` then fails, if it was waiting, with the reason for the wait."""
        ...


@runtime_checkable
class InPanels(Protocol):
    """A source whose rows may be read in parts side by side at no further cost; others are asked for whole rows."""

    @property
    def panel_cols(self) -> int:
        """Columns to read at a time: no storage block lies in two such parts, counted from the left; 0 for all."""
        ...


@runtime_checkable
class InParts(Protocol):
    """A source whose thumbnail is made of parts that can be had one by one."""

    def thumbnail_parts(self, longest: int) -> Sequence[tuple[int, int]]:
        """(first row, row after the last) of each part of `thumbnail(longest)`, from top to bottom."""
        ...

    def thumbnail_rows(self, longest: int, start: int, stop: int) -> Pixels:
        """A part of `thumbnail(longest)`. Raises InputError when the file cannot be read there."""
        ...
