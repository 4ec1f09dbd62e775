"""Interruption between steps instead of within one, so that what is saved or renamed then is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interruption", "deferred"]


class Interruption:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        """Signal handler: the first signal is kept for later, a second one interrupts at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Within, SIGINT and SIGTERM only set `asked`; outside the main thread nothing changes.

    Nor does it for a signal that a handler from outside of Python takes.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    # A handler that is not Python's, of a program that embeds it, could not be put back, and so stays.
    ours = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not None]
    before = {number: signal.signal(number, interruption.ask) for number in ours}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
