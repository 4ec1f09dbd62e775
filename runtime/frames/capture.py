"""OpenCV's captures, without what OpenCV and FFmpeg print to stderr by themselves."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2

__all__ = ["opened", "quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """No line of OpenCV's own on stderr meanwhile, on any thread: what there is to say is said by the caller."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def opened(place: str, settings: Sequence[int] = ()) -> cv2.VideoCapture | None:
    """The video or stream at `place`, None where it cannot be opened; settings: pairs of property and value."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read when FFmpeg is first used
    try:
        with quiet():
            capture = cv2.VideoCapture(place, cv2.CAP_FFMPEG, list(settings))
            if not capture.isOpened() and not settings:
                capture = cv2.VideoCapture(place)
    except cv2.error:
        return None
    if capture.isOpened():
        return capture
    capture.release()
    return None
