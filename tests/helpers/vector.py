"""Landslides through a sink, as a map hands them over."""

from typing import Protocol

import numpy as np

from calanddet.runtime.polygons import Landslides

__all__ = ["fill"]


class _Sink(Protocol):
    def write(self, landslides: Landslides, first: int) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


def fill(sink: _Sink, found: Landslides | None, *, chunks: int = 1) -> None:
    """Write all of `found` in `chunks` groups, numbered from 1, and finish the file."""
    if found is not None:
        which = np.arange(len(found)) * chunks // max(len(found), 1)
        first = 1
        for n in range(chunks):
            part = found._take(which == n)
            sink.write(part, first)
            first += len(part)
    sink.finish()
    sink.close()
