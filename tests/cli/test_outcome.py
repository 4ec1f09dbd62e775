"""How commands end, whatever they raise."""

from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner, Result

from calanddet.cli.outcome import reported
from calanddet.runtime.errors import OutputError


def ended(command: Callable[[], None]) -> Result:
    app = typer.Typer()
    app.command()(reported(command))
    return CliRunner().invoke(app, [])


def interrupted_import() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        raise ImportError("initialization failed") from error


def interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("command", [interrupted, interrupted_import])
def test_an_interrupt_is_exit_130_whatever_it_was_turned_into(command: Callable[[], None]) -> None:
    done = ended(command)
    assert done.exit_code == 130
    assert "interrupted" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OutputError("the disk is full"), "the disk is full"),
        (MemoryError(), "--batch"),
        (ZeroDivisionError("division by zero"), "a fault in calanddet (ZeroDivisionError: division by zero)"),
    ],
)
def test_a_failure_is_exit_1_and_one_line(error: Exception, words: str) -> None:
    def failing() -> None:
        raise error

    done = ended(failing)
    assert done.exit_code == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
