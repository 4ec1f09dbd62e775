"""Files that appear complete or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from calanddet.runtime.errors import OutputError

__all__ = ["replaced"]


@contextmanager
def replaced(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to, which becomes `file` at the end; on an error it is removed.

    Raises OutputError when writing or renaming fails.
    """
    partial = file.with_name(f"{file.name}.partial")
    try:
        yield partial
        partial.replace(file)
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
