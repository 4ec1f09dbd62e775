"""Progress of long work: a bar on a terminal, JSON lines for machines, silence where nobody looks."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

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

    Where `done` falls, the next piece of work has begun, whose rate is its own.
    """
    if kind is ProgressKind.json:
        yield _json_lines(label, unit)
    elif kind is ProgressKind.bar or (kind is ProgressKind.auto and sys.stderr.isatty()):
        with _bar(label, unit) as update:
            yield update
    else:
        yield lambda done, total: None


def _json_lines(label: str, unit: str) -> Progress:
    started = updated = time.monotonic()
    last, before = 0.0, 0

    def update(done: int, total: int) -> None:
        nonlocal started, updated, last, before
        now = time.monotonic()
        if done < before:
            started = updated
        updated, before = now, done
        if now - last < EVERY_S and done < total:
            return
        last = now
        rate = done / max(now - started, 1e-9)
        eta = (total - done) / rate if rate else None
        line = {
            "stage": label,
            "unit": unit,
            "done": done,
            "total": total,
            "rate_per_s": round(rate, 2),
            "eta_s": None if eta is None else round(eta, 1),
        }
        print(json.dumps(line), file=sys.stderr, flush=True)

    return update


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
