"""One fact about a machine, for a person and for a program."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["Finding", "installed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a topic; `needed` ones must be good for `calanddet run` to work.

    said: for a person, one line; facts: the same for a program, as JSON knows it.
    """

    topic: str
    good: bool
    said: str
    needed: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The finding for JSON, without its topic."""
        return {"good": self.good, "said": self.said, "needed": self.needed, "facts": dict(self.facts)}


def installed(*packages: str) -> str | None:
    """Version of the first of some distributions that is installed, read without importing it."""
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None
