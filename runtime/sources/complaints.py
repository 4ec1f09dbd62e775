"""What GDAL could not read and did without, where a connection broke.

It opens a TIFF whose later directories cannot be read as one that has none, so without its mask; and a block whose
place in the file cannot be read is taken for one that was never written, so for nodata. Neither is an error; but GDAL
signals the failure to its error handler, which is rasterio's, which logs it.
"""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from calanddet.runtime.errors import InputError

__all__ = ["nothing_missing"]

_LOGGER = "rasterio"
_UNREAD = re.compile(r"can ?not (be )?read|failed to read|read error", re.IGNORECASE)
_lock = threading.Lock()


class _Listener(logging.Handler):
    """Keeps the first message of this thread about something that was not read."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.heard = ""
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a message."""
        text = record.getMessage()
        if record.thread == self._thread and not self.heard and _UNREAD.search(text):
            self.heard = text


@contextmanager
def nothing_missing(url: str) -> Iterator[None]:
    """Raise InputError at the end, if GDAL signalled inside that it could not read something, and went on without it.

    The level of rasterio's logger is lowered meanwhile; what comes only through that reaches no handler but ours.
    """
    logger, listener = logging.getLogger(_LOGGER), _Listener()
    with _lock:
        level, propagate = logger.level, logger.propagate
        logger.addHandler(listener)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(listener)
            logger.setLevel(level)
            logger.propagate = propagate
    if listener.heard:
        raise InputError(f"{url} was not given whole ({listener.heard})")
