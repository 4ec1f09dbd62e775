"""One run at a time for a set of results."""

import errno
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from calanddet.runtime.errors import OutputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["RunLock"]

logger = logging.getLogger(__name__)

_HELD = frozenset({errno.EAGAIN, errno.EACCES, errno.EDEADLK})


class RunLock:
    """Held from construction to `close`; a second one on the same path raises OutputError, naming the process.

    The system's own file lock, not the file's existence: it goes with the process however that ends, so that no lock
    outlives a power cut, and a process number, which a container or a fresh boot gives out again, decides nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        while True:
            file = path.open("a+b")
            if not _locked(file):
                file.seek(0)
                holder = file.read(32).decode("ascii", "replace").strip() or "unknown"
                file.close()
                raise OutputError(
                    f"{path.parent} is being written by another run (process {holder}): wait for it or choose "
                    "another folder"
                )
            if _is_at(file, path):
                break
            file.close()
        self._file: BinaryIO | None = file
        try:
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode("ascii"))
            file.flush()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Remove the file and let others in; idempotent."""
        if self._file is None:
            return
        if sys.platform != "win32":  # where an open file cannot be removed it stays, and is no hindrance
            self._path.unlink(missing_ok=True)
        with suppress(OSError):  # what a full disk did not take is given up silently
            self._file.close()
        self._file = None


def _locked(file: BinaryIO) -> bool:
    """Whether the lock could be had at once."""
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


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether `file` is still what `path` names: its last holder may have removed it before it was locked."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
