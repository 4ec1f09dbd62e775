"""A source that waits for its server when that fails for a while."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources.complaints import nothing_missing
from calanddet.runtime.sources.protocol import InParts, Sampled, Source, SourceInfo
from calanddet.runtime.types import Pixels, Window

__all__ = ["READING_WAITS_S", "PatientSource"]

_log = logging.getLogger(__name__)

T = TypeVar("T")
READING_WAITS_S = (0.1, 0.1, 0.2, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
"""Seconds between tries to read, two minutes in all, beside the time that each takes."""
MOST_S = 180.0
"""After so long without an answer no try is added: each may take GDAL minutes where a server stalls."""
TOLD_S = 4.0
"""From so long a wait on, the user is told."""
OPENINGS = 7
"""Further tries to open an image that its server has, but that cannot be read."""
BEFORE_PARTING = 2
"""Further tries to read a window before it is read in two parts, each of which needs fewer answers to come whole."""


class PatientSource:
    """Reads again what could not be read, after longer and longer waits; then says why, as the source itself does.

    `interrupt` from another thread ends the waiting. An image that is another one when it is opened again is refused.
    """

    def __init__(
        self,
        reopen: Callable[[], Source],
        *,
        afresh: Callable[[], None] = lambda: None,
        waits_s: tuple[float, ...] | None = None,
    ) -> None:
        """`waits_s` between tries, READING_WAITS_S where None.

        `reopen` gives the source; after `afresh`, nothing is left of what was got, or not got, before. It is opened
        twice at once, until two openings in a row tell the same: what a broken connection hides at that moment, such as
        a mask, would be missing without a word.
        """
        self._reopen, self._afresh = reopen, afresh
        self._waits_s = READING_WAITS_S if waits_s is None else waits_s
        self._interrupted = threading.Event()
        self._failures, self._failing_since = 0, inf
        self._source = self._opened()
        for _ in range(len(self._waits_s) + 1):
            self._info = self._source.info
            self._source.close()
            self._source = self._opened()
            if _alike(self._info, self._source.info):
                return
        self._source.close()
        raise InputError(f"{self._info.path} looks different each time that it is opened: is its connection broken?")

    @property
    def info(self) -> SourceInfo:
        """What is known before a pixel is read."""
        return self._info

    def read(self, window: Window) -> Pixels:
        """See Source.read; in parts where it does not come whole."""
        halves = _halves(window, self._info.block)
        if not halves:
            return self._insisting(lambda: self._source.read(window), self._waits_s)
        try:
            return self._insisting(lambda: self._source.read(window), self._waits_s[:BEFORE_PARTING])
        except InputError:
            if self._exhausted:
                raise
        parts = [self.read(half) for half in halves]
        axis = int(halves[0].height == window.height)
        rgb, valid = [part.rgb for part in parts], [part.valid for part in parts]
        return Pixels(np.concatenate(rgb, axis), np.concatenate(valid, axis))

    def thumbnail(self, longest: int) -> Pixels:
        """See Source.thumbnail; part by part where the source can, so that not all of it has to come at once."""
        if not isinstance(self._source, InParts):
            return self._insisting(lambda: self._source.thumbnail(longest), self._waits_s)
        parts = self._source.thumbnail_parts(longest)
        got = [self._insisting(partial(self._thumbnail_rows, longest, *part), self._waits_s) for part in parts]
        return Pixels(np.concatenate([part.rgb for part in got]), np.concatenate([part.valid for part in got]))

    def sample(self, windows: int) -> list[NDArray[Any]]:
        """See Sampled; nothing of a source that is none."""
        return self._insisting(lambda: self._sampled(windows), self._waits_s)

    def _sampled(self, windows: int) -> list[NDArray[Any]]:
        return self._source.sample(windows) if isinstance(self._source, Sampled) else []

    def _thumbnail_rows(self, longest: int, start: int, stop: int) -> Pixels:
        assert isinstance(self._source, InParts)
        return self._source.thumbnail_rows(longest, start, stop)

    def interrupt(self) -> None:
        """Wait no longer: what is tried next is the last try."""
        self._interrupted.set()

    def close(self) -> None:
        """Release the file; idempotent."""
        self._source.close()

    def __enter__(self) -> "PatientSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _insisting(self, question: Callable[[], T], waits_s: tuple[float, ...]) -> T:
        """What `question` answers; after a failure, of a source that was opened anew."""
        for wait_s in (*waits_s, None):
            try:
                if self._failures:
                    self._open_again()
                with nothing_missing(self._info.path):
                    answer = question()
                self._failures, self._failing_since = 0, inf
                return answer
            except InputError as error:
                self._failures += 1
                self._failing_since = min(self._failing_since, monotonic())
                if wait_s is None or self._exhausted:
                    raise
                _log.log(logging.WARNING if wait_s >= TOLD_S else logging.INFO, "%s; again in %g s", error, wait_s)
                self._interrupted.wait(wait_s)
        raise AssertionError("the last round returns or raises")

    @property
    def _exhausted(self) -> bool:
        return self._interrupted.is_set() or monotonic() - self._failing_since > MOST_S

    def _opened(self) -> Source:
        for wait_s in self._waits_s[:OPENINGS]:
            try:
                self._afresh()
                return self._reopen()
            except InputError as error:
                _log.info("%s; again in %g s", error, wait_s)
                self._interrupted.wait(wait_s)
        self._afresh()
        return self._reopen()

    def _open_again(self) -> None:
        """Open it anew; every second time without what was got before, which is worth keeping unless it is wrong."""
        self._source.close()
        if self._failures % 2 == 0:
            self._afresh()
        again = self._reopen()
        if not _alike(self._info, again.info):
            again.close()
            self._interrupted.set()
            raise InputError(f"{self._info.path} is another image than at the beginning: it changed meanwhile")
        self._source = again


def _halves(window: Window, block: tuple[int, int]) -> tuple[Window, ...]:
    """Two parts of a window, side by side or one below the other, cut where blocks meet; none of one block or less."""
    rows, cols = -(-window.height // block[0]), -(-window.width // block[1])
    if max(rows, cols) < 2:
        return ()
    if cols >= rows:
        middle = cols // 2 * block[1]
        right = replace(window, col=window.col + middle, width=window.width - middle)
        return replace(window, width=middle), right
    middle = rows // 2 * block[0]
    return replace(window, height=middle), replace(window, row=window.row + middle, height=window.height - middle)


def _alike(one: SourceInfo, other: SourceInfo) -> bool:
    """Whether two openings found the same image, as far as its pixels go."""
    names = ("shape", "dtype", "bands", "block", "stretch", "identity", "notes", "reading")
    return all(getattr(one, name) == getattr(other, name) for name in names)
