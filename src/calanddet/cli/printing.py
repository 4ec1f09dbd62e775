"""Where a command prints may be full, gone or absent: results that are lost are a failure, notices are not."""

import io
import os
import sys
from typing import NoReturn, TypeVar

from calanddet.runtime.errors import OutputError

__all__ = ["guard"]

Stream = TypeVar("Stream", bound=io.TextIOWrapper)


def guard() -> None:
    """Put streams in the place of stdout and stderr that fail in this package's own way; once, as the program starts.

    A stream that is no file (a test's), or that the caller has closed, stays as it is.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _like(sys.stdout, _Results)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _like(sys.stderr, _Notices)


class _Results(io.TextIOWrapper):
    """What is lost is said once: the rest goes nowhere, so that Python does not fail again as it ends."""

    def write(self, text: str) -> int:
        """See io.TextIOBase. Raises OutputError."""
        try:
            return super().write(text)
        except OSError as error:
            self._lost(error)

    def flush(self) -> None:
        """See io.IOBase. Raises OutputError."""
        try:
            super().flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> NoReturn:
        _to_nowhere(self)
        if isinstance(error, BrokenPipeError):
            raise OutputError("the program that reads this one's output has gone") from error
        raise OutputError(f"the results cannot be printed: {error.strerror}") from error


class _Notices(io.TextIOWrapper):
    """Hours of work do not end because nobody reads what is said about them."""

    def write(self, text: str) -> int:
        """See io.TextIOBase."""
        try:
            return super().write(text)
        except OSError:
            _to_nowhere(self)
            return len(text)

    def flush(self) -> None:
        """See io.IOBase."""
        try:
            super().flush()
        except OSError:
            _to_nowhere(self)


def _like(stream: io.TextIOWrapper, kind: type[Stream]) -> Stream:
    """A stream of another kind on the same file, that encodes and buffers as this one does."""
    stream.flush()
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _to_nowhere(stream: io.TextIOWrapper) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
