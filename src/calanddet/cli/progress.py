"""Progress of long work: a bar on a terminal, JSON lines for machines, silence where nobody looks."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calanddet.runtime.pipeline.vitals import Vitals

__all__ = ["Progress", "ProgressKind", "shown"]

Progress = Callable[[int, int], None]

EVERY_S = 0.5
"""Least time between two JSON lines."""


class ProgressKind(str, Enum):
    """auto: a bar where stderr is a terminal, else nothing; json: a line at most every half second."""

    auto = "auto"
    bar = "bar"
    json = "json"
    none = "none"


@contextmanager
def shown(label: str, unit: str, kind: ProgressKind) -> Iterator[Progress]:
    """A function that takes (done, total) and shows it; call it from any one thread.

    Of a stream that it watches, JSON lines also have the stages' seconds and the queues' (waiting, room in all).
    Where `done` falls, the next piece of work has begun, whose rate is its own.
    """
    if kind is ProgressKind.json:
        yield _JsonLines(label, unit)
    elif kind is ProgressKind.bar or (kind is ProgressKind.auto and sys.stderr.isatty()):
        with _bar(label, unit) as update:
            yield update
    else:
        yield lambda done, total: None


class _JsonLines:
    """A line of figures at most every EVERY_S, and for the last of each piece of work."""

    def __init__(self, label: str, unit: str) -> None:
        self._label, self._unit = label, unit
        self._started = self._updated = time.monotonic()
        self._last, self._before, self._base = 0.0, 0, 0
        self._vitals: Vitals | None = None

    def watch(self, vitals: "Vitals") -> None:
        """A stream begins: what an earlier run has done of it does not count for its rate."""
        self._started = self._updated = time.monotonic()
        self._before = self._base = vitals.begun
        self._vitals = vitals

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < self._before:
            self._started, self._base = self._updated, 0
        self._updated, self._before = now, done
        if now - self._last < EVERY_S and done < total:
            return
        self._last = now
        rate = max(done - self._base, 0) / max(now - self._started, 1e-9)
        eta = (total - done) / rate if rate else None
        line = {
            "stage": self._label,
            "unit": self._unit,
            "done": done,
            "total": total,
            "rate_per_s": round(rate, 2),
            "eta_s": None if eta is None else round(eta, 1),
            **self._inside(),
        }
        print(json.dumps(line), file=sys.stderr, flush=True)

    def _inside(self) -> dict[str, Any]:
        if self._vitals is None:
            return {}
        seconds = {name: round(took, 3) for name, took in self._vitals.stage_seconds.items()}
        return {"stages_s": seconds, "queues": self._vitals.waiting}


@contextmanager
def _bar(label: str, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import Task as RichTask

    class Rate(TextColumn):
        def __init__(self) -> None:
            super().__init__("")

        def render(self, task: RichTask):  # type: ignore[no-untyped-def]
            from rich.text import Text

            return Text(f"{task.speed:.1f} {unit}/s" if task.speed else f"- {unit}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            if done < progress.tasks[0].completed:
                progress.reset(task)
            progress.update(task, completed=done, total=total)

        yield update
