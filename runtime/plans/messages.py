"""What TensorRT says while it works: errors are kept for the sentence that a person gets, the rest is logged."""

import logging
from collections import deque
from typing import Any

from calanddet.runtime.plans.library import Library

__all__ = ["make_logger", "said"]

logger = logging.getLogger(__name__)
KEPT = 20
LONGEST = 400


def make_logger(library: Library) -> Any:
    """An ILogger that keeps its latest errors and hands warnings to Python's logging at the level of debugging."""
    base: Any = library.trt.ILogger
    severity = base.Severity

    class Messages(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.errors: deque[str] = deque(maxlen=KEPT)

        def log(self, level: Any, text: str) -> None:
            """Called by TensorRT, from any of its threads."""
            if int(level) <= int(severity.ERROR):
                self.errors.append(text)
            elif int(level) <= int(severity.WARNING):
                logger.debug("TensorRT: %s", text)

    return Messages()


def said(messages: Any) -> str:
    """The latest error on one line, or that there was none."""
    if not messages.errors:
        return "TensorRT gives no reason"
    return " ".join(str(messages.errors[-1]).split())[:LONGEST]
