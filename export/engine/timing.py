"""TensorRT's timing cache through a build: taken from its file, given back with what others found meanwhile."""

import logging
from pathlib import Path
from typing import Any

from calanddet.runtime.errors import OutputError
from calanddet.runtime.plans.library import Library
from calanddet.runtime.plans.lock import turn
from calanddet.runtime.plans.timing import read_timing, write_timing

__all__ = ["keep_timings", "load_timings"]

logger = logging.getLogger(__name__)


def load_timings(library: Library, config: Any, path: Path | None) -> bytes:
    """Give the configuration the timings in `path`, or empty ones; the bytes that it starts with.

    TensorRT-RTX measures nothing while it builds, so it gets none.
    """
    if path is None or library.is_rtx:
        return b""
    for data in (read_timing(path), b""):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):
            return data
        if data:
            logger.warning("%s does not take the timing cache %s: kernels are timed again", library, path)
    logger.warning("%s gives no timing cache: the next build takes as long as this one", library)
    return b""


def keep_timings(library: Library, config: Any, path: Path | None, before: bytes) -> None:
    """Write the configuration's timings to `path`, with those that other builds have put there since `before`.

    A cache that cannot be written is said, and costs the next build time, but not this one its plan.
    """
    if path is None or library.is_rtx or (cache := config.get_timing_cache()) is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with turn(path.with_name(f"{path.name}.lock")):
            now = read_timing(path)
            if now and now != before:
                others = config.create_timing_cache(now)
                if others is None or not cache.combine(others, True):
                    logger.warning("the timing cache %s holds what %s cannot read: it is replaced", path, library)
            write_timing(path, bytes(memoryview(cache.serialize())))
    except (OutputError, OSError) as error:
        logger.warning("the timings of this build are not kept: %s", error)
