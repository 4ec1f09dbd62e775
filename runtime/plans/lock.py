"""One process at a time, the others wait: for building a plan, and for extending a timing cache."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from calanddet.runtime.errors import OutputError
from calanddet.runtime.locking import try_lock

__all__ = ["turn"]

EVERY_S = 0.2
"""Time between two looks at a lock that another process holds."""


@contextmanager
def turn(path: Path, waiting: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Hold the lock file `path`, which stays where it is; `waiting` is told once which process has it.

    Raises OutputError where the file cannot be made.
    """
    try:
        file = path.open("a+b", buffering=0)  # so that closing has nothing left to write
    except OSError as error:
        raise OutputError(f"the lock {path} cannot be made: {error.strerror}") from error
    with file:
        told = False
        while not try_lock(file):
            if not told:
                told = True
                file.seek(0)
                waiting(file.read(32).decode("ascii", "replace").strip() or "unknown")
            time.sleep(EVERY_S)
        with suppress(OSError):  # the number is for people: a full disk does not keep anyone from his turn
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode("ascii"))
        yield
