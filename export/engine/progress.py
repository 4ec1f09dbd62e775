"""A build that can be watched and stopped: TensorRT works on a thread of its own, this one tells and listens."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from calanddet.runtime.interrupt import deferred
from calanddet.runtime.plans.library import Library

__all__ = ["AT_LEAST_S", "OnPhase", "Phase", "Watch", "watched"]

AT_LEAST_S = 5.0
"""Longest silence."""
AT_MOST_S = 0.5
"""Shortest time between two reports."""
LOOK_S = 0.1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Phase:
    """Where a build is: the innermost phase that began last, its steps, and seconds since the build began."""

    name: str
    done: int
    total: int
    seconds: float


OnPhase: TypeAlias = Callable[[Phase], None]
"""Told of every new phase and step, at most every half second and at least every five, on the caller's thread."""


class Watch:
    """What TensorRT's threads report; read by the caller's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[int, int]] = {}
        self._started = time.monotonic()
        self.stopping = False

    def start(self, name: str, total: int) -> None:
        """A phase of `total` steps begins."""
        with self._lock:
            self._open[name] = (0, total)

    def step(self, name: str, step: int) -> bool:
        """Step `step`, counted from 0, is done; False asks TensorRT to stop."""
        with self._lock:
            if name in self._open:
                self._open[name] = (step + 1, self._open[name][1])
        return not self.stopping

    def finish(self, name: str) -> None:
        """A phase is over."""
        with self._lock:
            self._open.pop(name, None)

    def phase(self) -> Phase:
        """Where the build is now."""
        with self._lock:
            name, (done, total) = next(reversed(self._open.items()), ("Preparing", (0, 0)))
        name = f"Stopping after {name}" if self.stopping else name
        return Phase(name, done, total, time.monotonic() - self._started)

    def monitor(self, library: Library) -> Any:
        """The IProgressMonitor that reports here."""
        watch = self
        base: Any = library.trt.IProgressMonitor

        class Monitor(base):  # type: ignore[misc]
            def __init__(self) -> None:
                base.__init__(self)

            def phase_start(self, phase_name: str, _parent: str | None, num_steps: int) -> None:
                watch.start(phase_name, num_steps)

            def step_complete(self, phase_name: str, step: int) -> bool:
                return watch.step(phase_name, step)

            def phase_finish(self, phase_name: str) -> None:
                watch.finish(phase_name)

        return Monitor()


def watched(work: Callable[[], T], watch: Watch, on_phase: OnPhase) -> T:
    """The result of `work`, which runs on a thread of its own while this one reports and takes Ctrl-C.

    The first Ctrl-C asks TensorRT to stop at its next step, which may be seconds away, and then raises
    KeyboardInterrupt; a second one raises at once and leaves the thread to end with the process.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised again by the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, name="calanddet-build", daemon=True)
    with deferred() as interruption:
        thread.start()
        reporter = _Reporter(watch, on_phase)
        while thread.is_alive():
            thread.join(LOOK_S)
            watch.stopping = watch.stopping or interruption.asked
            reporter.look()
    if interruption.asked:
        raise KeyboardInterrupt
    if errors:
        raise errors[0]
    return results[0]


class _Reporter:
    """Passes on what changed, not too often, and a sign of life where nothing does."""

    def __init__(self, watch: Watch, on_phase: OnPhase) -> None:
        self._watch, self._on_phase = watch, on_phase
        self._last: Phase | None = None

    def look(self) -> None:
        now, last = self._watch.phase(), self._last
        if last is not None:
            waited = now.seconds - last.seconds
            changed = (now.name, now.done) != (last.name, last.done)
            if waited < (AT_MOST_S if changed else AT_LEAST_S - LOOK_S):
                return
        self._last = now
        self._on_phase(now)
