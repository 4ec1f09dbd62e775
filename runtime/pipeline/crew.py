"""Threads that work on one thing: when one fails, all stop, and its error is the one that is raised."""

import threading
from collections.abc import Callable
from types import TracebackType

from calanddet.runtime.pipeline.channel import Aborted

__all__ = ["Crew"]


class Crew:
    """A context in which threads run; leaving it waits for them and raises the first error that any of them had."""

    def __init__(self, on_failure: Callable[[], None]) -> None:
        """`on_failure` must wake every thread of the crew, the caller's own included."""
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._first: BaseException | None = None
        self._members: list[tuple[threading.Thread, threading.Event]] = []

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` in a thread of that name."""
        done = threading.Event()
        thread = threading.Thread(target=self._guard, args=(work, done), name=f"calanddet-{name}", daemon=True)
        self._members.append((thread, done))
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            self._members.pop()
            raise

    def _guard(self, work: Callable[[], None], done: threading.Event) -> None:
        try:
            work()
        except BaseException as error:  # carried to the caller's thread, which raises it
            self._fail(error)
        finally:
            done.set()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._first is None and not isinstance(error, Aborted):
                self._first = error
        self._on_failure()

    def _join(self) -> None:
        """Wait for every thread, also where Ctrl-C arrives meanwhile: they hold what the caller closes next."""
        while True:
            try:
                for thread, done in self._members:
                    done.wait()  # an interrupted join would take the thread for dead, up to Python 3.12 at least
                    thread.join()
                return
            except KeyboardInterrupt as error:
                self._fail(error)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._fail(error)
        self._join()
        if self._first is not None and self._first is not error:
            raise self._first from self._first.__cause__  # in place of an Aborted, which says nothing
