"""How a command ends: its exit code, and the one sentence of a failure."""

import functools
import logging
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from calanddet.runtime.errors import CalanddetError, OptionError

__all__ = ["FAILED", "INTERRUPTED", "notices", "reported"]

FAILED = 1
MISUSED = 2
INTERRUPTED = 130

P = ParamSpec("P")


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """The command with failures told in one sentence on stderr: exit 1, 2 for wrong usage, 130 when stopped."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            if sys.stdout is not None:  # None where the caller closed it
                sys.stdout.flush()  # while a failure can still be told: at its exit Python would tell it in its own way
        except KeyboardInterrupt:
            _stop()
        except OptionError as error:
            _fail(str(error), error, MISUSED)
        except CalanddetError as error:
            _fail(str(error), error)
        except MemoryError as error:
            _fail("not enough memory; a smaller --batch needs less", error)
        except (typer.Exit, typer.Abort, SystemExit):
            raise
        except Exception as error:
            if type(error).__module__.startswith(("typer", "click")):  # wrong usage, told by typer itself
                raise
            sentence = f"this is a fault in calanddet ({type(error).__name__}: {error}); --debug shows where"
            _fail(sentence, error)

    return run


def notices() -> None:
    """Show the package's own warnings on stderr, a line each; those of GDAL come as errors where they matter."""
    handler = _Notices()
    handler.setFormatter(logging.Formatter("calanddet: %(message)s"))
    logger = logging.getLogger("calanddet")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING)
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)


class _Notices(logging.Handler):
    """Prints to what stderr is at that moment: a progress bar puts itself in its place, and stays below the line."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        print(self.format(record), file=sys.stderr)


def _stop() -> None:
    print("calanddet: interrupted; nothing unfinished was left under a final name", file=sys.stderr)
    raise SystemExit(INTERRUPTED) from None


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: an extension that is being imported turns it into an ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _fail(sentence: str, error: Exception, code: int = FAILED) -> None:
    if _interrupted(error):
        _stop()
    if "--debug" in sys.argv:
        raise error
    print(f"calanddet: {sentence}", file=sys.stderr)
    raise SystemExit(code) from None
