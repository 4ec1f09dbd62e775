"""The errors that cross the public API: one root, and one subclass for each decision a caller can take.

CalanddetError
 +-- InputError            the imagery: another file, or repair this one
 |    +-- IncompleteError  some of several inputs: `results` has the others, which were mapped
 +-- ModelError            the model or checkpoint: another file, or export it again
 +-- EngineError           the engine, its device or provider: choose another
 +-- OutputError           where results go: another folder, more space, or --overwrite
 |    +-- ResumeError      an unfinished run of another input, model or setting lies there: run that, or start afresh
 +-- OptionError           a parameter out of its range: change it
 +-- MissingDependency     an optional package: install the extra named in the message
"""

from collections.abc import Sequence

__all__ = [
    "CalanddetError",
    "EngineError",
    "IncompleteError",
    "InputError",
    "MissingDependency",
    "ModelError",
    "OptionError",
    "OutputError",
    "ResumeError",
]


class CalanddetError(Exception):
    """Root of all errors of this package; the message is one sentence for the person at the keyboard."""


class InputError(CalanddetError):
    """The imagery cannot be read, or holds what the network cannot map."""


class IncompleteError(InputError):
    """Some of several inputs could not be mapped; `results` lists what was made of the others."""

    def __init__(self, message: str, results: Sequence[object]) -> None:
        super().__init__(message)
        self.results = results


class ModelError(CalanddetError):
    """The model or checkpoint is missing, broken, or not a CALandDet one."""


class EngineError(CalanddetError):
    """The engine cannot be opened or failed while it ran."""


class OutputError(CalanddetError):
    """Results cannot be written, or would replace files that must stay."""


class ResumeError(OutputError):
    """An unfinished run lies there, and this one cannot go on with it: something that decides the bytes differs."""


class OptionError(CalanddetError, ValueError):
    """A parameter is outside the range that its function accepts."""


class MissingDependency(CalanddetError, ImportError):
    """An optional package that the call needs is not installed."""
