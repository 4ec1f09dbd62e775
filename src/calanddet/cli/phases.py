"""Progress of a build whose length nobody knows: its phase, the phase's steps, and the time since it began."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from calanddet.cli.progress import ProgressKind

if TYPE_CHECKING:
    from calanddet.export.engine import OnPhase, Phase

__all__ = ["phases_shown"]


@contextmanager
def phases_shown(label: str, kind: ProgressKind) -> "Iterator[OnPhase]":
    """A function that takes a Phase and shows it: a line that changes on a terminal, JSON lines, or nothing."""
    if kind is ProgressKind.json:
        yield lambda phase: print(_json(label, phase), file=sys.stderr, flush=True)
    elif kind is ProgressKind.bar or (kind is ProgressKind.auto and sys.stderr.isatty()):
        from rich.console import Console

        with Console(stderr=True).status(label) as status:
            yield lambda phase: status.update(f"{label}: {_words(phase)}")
    else:
        yield lambda phase: None


def _words(phase: "Phase") -> str:
    steps = f" {phase.done}/{phase.total}" if phase.total > 1 else ""
    return f"{phase.name}{steps}, {phase.seconds:.0f} s"


def _json(label: str, phase: "Phase") -> str:
    line = {
        "stage": label,
        "phase": phase.name,
        "done": phase.done,
        "total": phase.total,
        "elapsed_s": round(phase.seconds, 1),
    }
    return json.dumps(line)
