"""What the system, OGR and SQLite say when a file cannot be written, in one sentence of our own."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyogrio.errors import DataLayerError, DataSourceError

from calanddet.runtime.errors import OutputError

__all__ = ["MEGABYTE", "require_space", "writing"]

MEGABYTE = 10**6
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def writing(folder: Path, needed: int = MEGABYTE) -> Iterator[None]:
    """A block that writes at least `needed` bytes into `folder`; raises OutputError for whatever keeps it from that."""
    try:
        yield
    except OSError as error:
        raise OutputError(_sentence(folder, error, needed)) from error
    except (DataSourceError, DataLayerError) as error:
        # OGR seldom tells why a write failed; a disk without room for it is reason enough.
        full = "disk is full" in str(error) or _free(folder) < needed
        raise OutputError(_full(folder, needed) if full else f"cannot write into {folder}: {error}") from error


def require_space(folder: Path, needed: int) -> None:
    """Raise OutputError unless the disk that holds `folder` has `needed` bytes free."""
    if _free(folder) < needed:
        raise OutputError(_full(folder, needed))


def _sentence(folder: Path, error: OSError, needed: int) -> str:
    if error.errno in _FULL:
        return _full(folder, needed)
    if error.errno == errno.EFBIG:
        return f"{folder} lies on a file system, or under a limit, that takes no files this large: choose another one"
    return f"cannot write into {folder}: {error.strerror or error}"


def _full(folder: Path, needed: int) -> str:
    return (
        f"the disk is full: {folder} has {_free(folder) / MEGABYTE:.1f} MB free and the results need at least "
        f"{needed / MEGABYTE:.1f} MB more: free some space or choose another folder"
    )


def _free(folder: Path) -> int:
    """Bytes free on the disk that holds `folder`, or would hold it."""
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    return shutil.disk_usage(place).free
