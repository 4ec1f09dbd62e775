"""One run at a time for a set of results."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from calanddet.runtime.errors import OutputError
from calanddet.runtime.locking import try_lock

__all__ = ["RunLock"]


class RunLock:
    """Held from construction to `close`; a second one on the same path raises OutputError, naming the process.

    The system's own file lock, not the file's existence: it goes with the process however that ends, so that no lock
    outlives a power cut, and a process number, which a container or a fresh boot gives out again, decides nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        while True:
            file = path.open("a+b")
            if not try_lock(file):
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


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether `file` is still what `path` names: its last holder may have removed it before it was locked."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
