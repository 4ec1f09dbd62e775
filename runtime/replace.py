"""Files that appear complete or not at all."""

import errno
import glob
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from calanddet.runtime.errors import OutputError

__all__ = ["clear_partials", "replaced", "to_disk"]


@contextmanager
def replaced(file: Path, *, called: str = "") -> Iterator[Path]:
    """A path beside `file` to write to, which is brought to the disk and becomes `file` at the end of the block.

    On an error it is removed, and `file` stays as it was. Raises OutputError, about `called` or the path, for every
    OSError in the block and after it; the folder has to be there once the block ends.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        yield partial
        to_disk(partial)
        partial.replace(file)
    except OSError as error:
        raise OutputError(f"{called or file} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # gone already where all went well
            partial.unlink()


def clear_partials(file: Path) -> None:
    """Remove what killed processes left of an unfinished `file`; call it where no one else writes that file now."""
    for partial in file.parent.glob(f".{glob.escape(file.name)}.*.partial"):
        with suppress(OSError):  # it is in nobody's way
            partial.unlink()


def to_disk(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now."""
    folder = path.is_dir()
    if folder and sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems refuse this for a folder, and write names through anyway.
        if not (folder and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(handle)
