"""The system's file lock, which goes with its process however that ends: no lock outlives a power cut."""

import errno
import logging
import sys
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["try_lock"]

logger = logging.getLogger(__name__)

_HELD = frozenset({errno.EAGAIN, errno.EACCES, errno.EDEADLK})


def try_lock(file: BinaryIO) -> bool:
    """Lock an open file for this process until it is closed; False where another holds it.

    A file system without locks counts as locked, with a warning.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        logger.warning("%s lies on a file system without locks (%s): start no second run there", file.name, error)
    return True
