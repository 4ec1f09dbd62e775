"""How a command ends: its exit code, and the one sentence of a failure."""

import functools
import logging
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from calanddet.runtime.errors import CalanddetError

__all__ = ["FAILED", "INTERRUPTED", "notices", "reported"]

FAILED = 1
INTERRUPTED = 130

P = ParamSpec("P")


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """The command with failures told in one sentence on stderr: exit 1 for an error, 130 when interrupted."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            print("calanddet: interrupted; nothing was left under a final name", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except CalanddetError as error:
            _fail(str(error), error)
        except BrokenPipeError as error:
            _fail("the program that reads this one's output has gone", error)
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
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("calanddet: %(message)s"))
    logger = logging.getLogger("calanddet")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING)
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)


def _fail(sentence: str, error: Exception) -> None:
    if "--debug" in sys.argv:
        raise error
    print(f"calanddet: {sentence}", file=sys.stderr)
    raise typer.Exit(FAILED) from None
