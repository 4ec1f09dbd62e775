"""A live stream as frames: the latest one wins, and a connection that breaks is made again."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from calanddet.runtime.errors import InputError, OptionError
from calanddet.runtime.frames.capture import opened, quiet
from calanddet.runtime.frames.protocol import Frame
from calanddet.runtime.types import Bytes

__all__ = ["LiveFrames", "LiveOptions", "is_stream"]

_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "udp", "rtp", "srt"})
_STREAMED = (".mjpg", ".mjpeg", ".m3u8", ".ts")
"""What ends the address of a stream on a web server."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """answer_s: seconds without a frame after which the stream is taken not to answer, at the start and later;
    wait_s: between two tries to connect; for_s: seconds after the first frame at which to stop, 0 for never."""

    answer_s: float = 5.0
    wait_s: float = 0.5
    give_up_s: float = 20.0
    for_s: float = 0.0

    def __post_init__(self) -> None:
        if min(self.answer_s, self.wait_s) <= 0.0 or min(self.give_up_s, self.for_s) < 0.0:
            raise OptionError(f"times of a stream are positive, not {self}")


def is_stream(place: object) -> bool:
    """Whether an input is the address of a live stream."""
    if not isinstance(place, str) or "://" not in place:
        return False
    try:
        parts = urlsplit(place)
    except ValueError:
        return False
    web = parts.scheme.lower() in ("http", "https") and parts.path.lower().endswith(_STREAMED)
    return parts.scheme.lower() in _SCHEMES or web


class LiveFrames:
    """A thread reads the stream and keeps the newest frame; iterating takes it, and what it replaced is dropped.

    Raises InputError at the first frame where the stream does not answer. Where it breaks off later, it is connected
    again for `give_up_s` seconds, and then ends; Ctrl-C ends it as well.
    """

    def __init__(self, url: str, options: LiveOptions = LiveOptions()) -> None:
        self.path, self._options = url, options
        self._changed = threading.Condition()
        self._latest: Frame | None = None
        self._arrived = self._taken = self._connections = 0
        self._first_at = 0.0
        self._last_at = time.monotonic()
        self._stopping = False
        self._thread = threading.Thread(target=self._receive, name="calanddet-live", daemon=True)
        self._thread.start()

    @property
    def expected(self) -> int:
        """See Frames.expected."""
        return 0

    def __iter__(self) -> Iterator[Frame]:
        """The newest frame, whenever the last one has been dealt with."""
        while (frame := self._next()) is not None:
            yield frame

    def account(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """See Frames.account."""
        with self._changed:
            dropped = self._arrived - self._taken
            counts = {
                "read": self._arrived,
                "mapped": self._taken,
                "dropped": dropped,
                "reconnects": max(0, self._connections - 1),
            }
        notes = [f"{dropped} of {counts['read']} frames were dropped: they came faster than they were mapped"]
        notes.append(f"the stream broke off and was connected again {counts['reconnects']} times")
        return counts, tuple(note for note, count in zip(notes, (dropped, counts["reconnects"]), strict=True) if count)

    def close(self) -> None:
        """Stop reading; idempotent. A connection that hangs is left to its own time-out."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def _next(self) -> Frame | None:
        options = self._options
        with self._changed:
            while self._latest is None and not self._stopping:
                self._changed.wait(timeout=0.1)
                quiet = time.monotonic() - self._last_at
                if not self._arrived and quiet > options.answer_s:
                    raise InputError(
                        f"the stream {self.path} gave no frame in {options.answer_s:g} s: check the address, the "
                        "network, and that the camera is sending"
                    )
                if self._arrived and quiet > options.give_up_s:
                    return None
            if self._stopping or (options.for_s and time.monotonic() - self._first_at > options.for_s):
                return None
            frame, self._latest = self._latest, None
            self._taken += 1
            return frame

    def _receive(self) -> None:
        """The thread: connect, read until it breaks, connect again."""
        while not self._stopping:
            capture = self._connect()
            if capture is not None:
                self._read(capture)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, timeout=self._options.wait_s)

    def _read(self, capture: cv2.VideoCapture) -> None:
        """Keep every frame until the connection breaks, which OpenCV would tell in its own words."""
        with quiet():
            while not self._stopping:
                done, bgr = capture.read()
                if not done:
                    break
                self._keep(np.ascontiguousarray(bgr[..., ::-1]))
            capture.release()

    def _connect(self) -> "cv2.VideoCapture | None":
        limit = round(self._options.answer_s * 1000.0)
        times = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
        capture = opened(self.path, times)
        self._connections += capture is not None
        return capture

    def _keep(self, rgb: Bytes) -> None:
        now = time.monotonic()
        with self._changed:
            if not self._arrived:
                self._first_at = now
            self._latest = Frame(self._arrived, now - self._first_at, rgb)
            self._arrived += 1
            self._last_at = now
            self._changed.notify_all()
