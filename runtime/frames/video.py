"""A video file as frames, one every so many seconds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calanddet.runtime.errors import InputError
from calanddet.runtime.frames.capture import opened
from calanddet.runtime.frames.protocol import Frame

__all__ = ["VIDEO_SUFFIXES", "VideoFrames"]

VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".m4v", ".mkv", ".avi", ".ts", ".mts", ".webm"))
_LEAST_SHARE = 0.98
"""Of the frames that a file says it has: fewer than these came out of it, and it is cut short."""


class VideoFrames:
    """Every first frame at or after a multiple of `every_s` seconds; all of them where it is 0.

    Raises InputError for a file that is missing or no video.
    """

    def __init__(self, path: Path, every_s: float) -> None:
        if not path.is_file():
            raise InputError(f"{path} does not exist: check the name")
        capture = opened(str(path))
        fps = 0.0 if capture is None else float(capture.get(cv2.CAP_PROP_FPS))
        if capture is None or not 0.0 < fps < 1e4:
            raise InputError(f"{path} cannot be opened as a video: it is damaged, or its codec is not known here")
        self._capture, self.path, self.fps = capture, str(path), fps
        self.frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._every_s = every_s
        self._seen = self._taken = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of a frame."""
        get = self._capture.get
        return int(get(cv2.CAP_PROP_FRAME_HEIGHT)), int(get(cv2.CAP_PROP_FRAME_WIDTH))

    @property
    def times(self) -> list[float]:
        """Seconds of the frames that are to come, as far as the file says how many it has."""
        return [index / self.fps for index in range(self.frames) if self._wanted(index)]

    @property
    def expected(self) -> int:
        """See Frames.expected."""
        return len(self.times)

    def __iter__(self) -> Iterator[Frame]:
        """The frames. Raises InputError where not one can be decoded."""
        while self._capture.grab():
            index, self._seen = self._seen, self._seen + 1
            if not self._wanted(index):
                continue
            done, bgr = self._capture.retrieve()
            if done:
                self._taken += 1
                yield Frame(index, index / self.fps, np.ascontiguousarray(bgr[..., ::-1]))
        if not self._taken:
            raise InputError(f"no frame of {self.path} can be decoded: the video is damaged")

    def account(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """See Frames.account."""
        notes: tuple[str, ...] = ()
        if self._seen < _LEAST_SHARE * self.frames:
            notes = (f"it says it has {self.frames} frames and gave {self._seen}: it is cut short or damaged",)
        return {"read": self._seen, "mapped": self._taken, "fps": round(self.fps, 4)}, notes

    def _wanted(self, index: int) -> bool:
        if self._every_s <= 1.0 / self.fps:
            return True
        before = np.floor((index - 1) / self.fps / self._every_s + 1e-9)
        return index == 0 or bool(np.floor(index / self.fps / self._every_s + 1e-9) > before)

    def close(self) -> None:
        """Close the file; idempotent."""
        self._capture.release()
