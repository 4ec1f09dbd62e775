"""What every source that is made of another one has in common."""

from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.sources.protocol import InPanels, Interruptible, Sampled, Source, SourceInfo
from calanddet.runtime.types import Pixels, Window

__all__ = ["WrappedSource", "clipped", "nothing"]


class WrappedSource:
    """A source with one more thing to say, `info`; what wraps more than words overrides what it changes."""

    def __init__(self, source: Source, info: SourceInfo | None = None) -> None:
        self._source = source
        self.info = source.info if info is None else info

    def read(self, window: Window) -> Pixels:
        """See Source.read."""
        return self._source.read(window)

    @property
    def panel_cols(self) -> int:
        """See InPanels; whole rows where the source has no panels."""
        return self._source.panel_cols if isinstance(self._source, InPanels) else self.info.shape[1]

    def thumbnail(self, longest: int) -> Pixels:
        """See Source.thumbnail."""
        return self._source.thumbnail(longest)

    def sample(self, windows: int) -> list[NDArray[Any]]:
        """See Sampled; nothing of a source that has only bytes."""
        return self._source.sample(windows) if isinstance(self._source, Sampled) else []

    def interrupt(self) -> None:
        """See Interruptible.interrupt."""
        if isinstance(self._source, Interruptible):
            self._source.interrupt()

    def close(self) -> None:
        """See Source.close."""
        self._source.close()

    def noted(self, *notes: str) -> SourceInfo:
        """`info` with more notes."""
        return replace(self.info, notes=(*self.info.notes, *notes))

    def __enter__(self) -> "WrappedSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def clipped(window: Window, shape: tuple[int, int]) -> Window | None:
    """The part of a window that is inside a raster of `shape` (rows, cols); None where there is none."""
    row, col = max(window.row, 0), max(window.col, 0)
    height, width = min(window.stop_row, shape[0]) - row, min(window.stop_col, shape[1]) - col
    return Window(row, col, height, width) if height > 0 and width > 0 else None


def nothing(height: int, width: int) -> Pixels:
    """Black pixels that are not valid."""
    return Pixels(np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.bool_))
